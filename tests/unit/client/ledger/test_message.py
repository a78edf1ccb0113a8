"""Our message is the one that Celery itself would send."""

import json
from typing import Any

from kombu.connection import Connection
from kombu.transport.redis import Channel

from speechfleet.ledger.message import BEHIND, TASK, TEMPLATE, JobMessage
from speechfleet.settings import Settings
from speechfleet_worker.celery_app import make_app


def ours(priority: int = 3) -> bytes:
    text = TEMPLATE.replace("@JOB@", "default/a").replace("@SEQ@", "7")
    text = text.replace("@TASK@", TASK)
    return text.replace("@QUEUE@", "q").replace("@PRIORITY@", str(priority)).encode()


def test_it_has_every_field_that_celery_writes() -> None:
    app = make_app(Settings.load(redis_url="redis://127.0.0.1:1/0"), ["q"])
    theirs = app.amqp.as_task_v2(
        "default/a#7", TASK, args=["default/a", "7"], kwargs={}, ignore_result=True
    )
    message: dict[str, Any] = json.loads(ours())
    assert message["headers"].keys() == theirs.headers.keys()
    different = {"argsrepr", "kwargsrepr", "origin"}
    for name in theirs.headers.keys() - different:
        assert message["headers"][name] == theirs.headers[name], name
    assert json.loads(message["body"]) == json.loads(json.dumps(theirs.body))
    assert theirs.properties.items() <= message["properties"].items()


def test_kombu_reads_it_back() -> None:
    connection: Any = Connection("memory://")  # type: ignore[no-untyped-call]  # kombu
    channel = connection.default_channel
    message = channel.Message(json.loads(ours()), channel=channel)
    args, kwargs, _ = message.decode()
    assert args == ["default/a", "7"]
    assert kwargs == {}
    assert message.delivery_info["routing_key"] == "q"


def test_the_suffix_is_that_of_kombus_priority_three() -> None:
    assert Channel.sep + "3" == BEHIND
    assert 3 in Channel.priority_steps


def test_a_hint_is_read_from_the_raw_message() -> None:
    assert JobMessage.decode(ours()) == JobMessage("default/a", "7")
    foreign = json.loads(ours())
    foreign["headers"]["task"] = "celery.ping"
    assert JobMessage.decode(json.dumps(foreign).encode()) is None
