"""The broker's connections: their options, and that a refusal is a lost connection to Celery."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from kombu.connection import Connection
from kombu.transport.virtual import base
from redis.connection import AbstractConnection
from redis.exceptions import ResponseError

from speechfleet.settings import Settings
from speechfleet_worker.broker import (
    HEALTH_CHECK_S,
    BrokerConnection,
    PrimaryChannel,
    RedisChannel,
    broker_url,
    lasting,
    transport_options,
)
from speechfleet_worker.celery_app import make_app

KINDS = [redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:pw@db:1/2", "redis://:pw@db:1/2"),
        ("unix:///run/a.sock?db=2", "redis+socket:///run/a.sock?virtual_host=2"),
        (
            "sentinel://:pw@a:1,b:2/fleet/3",
            "sentinel://:pw@a:1/3;sentinel://:pw@b:2/3",
        ),
    ],
    ids=["server", "socket", "sentinel"],
)
def test_celery_gets_its_own_spelling_of_the_url(url: str, expected: str) -> None:
    assert broker_url(Settings.load(redis_url=url)) == expected


def test_time_outs_come_from_the_settings_and_silence_is_found_within_seconds() -> None:
    settings = Settings.load(redis_url="redis://db", redis_timeout=4, redis_connect_timeout=2)
    options = transport_options(settings, "worker-x")
    assert options["socket_timeout"] == 4
    assert options["socket_connect_timeout"] == 2
    assert options["health_check_interval"] == HEALTH_CHECK_S
    assert options["socket_keepalive"]
    assert options["client_name"] == "speechfleet:worker-x:broker"


def test_the_service_of_a_sentinel_is_known() -> None:
    options = transport_options(Settings.load(redis_url="sentinel://a:1/fleet/0"), "w")
    assert options["master_name"] == "fleet"
    assert options["sentinel_kwargs"]["socket_timeout"]


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1", "sentinel://127.0.0.1:1/fleet"], ids=["server", "sentinel"]
)
def test_the_application_uses_our_transports(url: str) -> None:
    app = make_app(Settings.load(redis_url=url), ["q"])
    channel = app.connection_for_read().transport_cls
    expected = {"redis": RedisChannel, "sentinel": PrimaryChannel}[url.partition(":")[0]]
    assert app.connection_for_read().get_transport_cls().Channel is expected, channel
    assert app.conf.broker_channel_error_retry


def test_messages_that_are_held_when_a_connection_ends_are_neither_restored_nor_dumped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Held(RedisChannel):
        def __init__(self) -> None:
            """Without a connection."""

    assert not Held.do_restore
    channel = Held()
    qos = base.QoS(channel)  # type: ignore[no-untyped-call]  # kombu
    qos.append(object(), "tag")  # type: ignore[no-untyped-call]  # kombu
    qos.restore_unacked_once()  # type: ignore[no-untyped-call]  # kombu
    assert capsys.readouterr().err == ""
    channel._closing = True


@pytest.mark.parametrize(
    "reply",
    [
        "MISCONF Errors writing to the AOF file: No space left on device",
        "NOREPLICAS Not enough good replicas to write.",
        "READONLY You can't write against a read only replica.",
        "UNBLOCKED force unblock from blocking operation",
        "OOM command not allowed",
        "BUSY Redis is busy running a script",
    ],
    ids=lambda reply: str(reply).partition(" ")[0],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_ends_the_connection_and_not_the_worker(
    reply: str, kind: type[AbstractConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ResponseError(reply)

    monkeypatch.setattr(kind, "read_response", refuse)
    with pytest.raises(redis.ConnectionError, match=reply.partition(" ")[0]):
        lasting(kind)().read_response()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_command_stays_what_it_is(
    kind: type[AbstractConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ResponseError("WRONGTYPE Operation against a key")

    monkeypatch.setattr(kind, "read_response", refuse)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        lasting(kind)().read_response()


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_stays_of_its_kind(kind: type[AbstractConnection]) -> None:
    assert issubclass(lasting(kind), kind)
    assert lasting(kind)._connect is kind._connect


def test_an_outage_is_logged_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many attempts there are in between, of which Celery would log each."""
    by_celery: list[object] = []

    def connect_at_the_third_attempt(_: object, errback: Any, **__: object) -> str:
        for _ in range(3):
            errback(OSError("Connection refused"), 0.5)
        return "connected"

    monkeypatch.setattr(Connection, "ensure_connection", connect_at_the_third_attempt)
    connection = BrokerConnection("redis://127.0.0.1:1")  # type: ignore[no-untyped-call]  # kombu
    assert connection.ensure_connection(by_celery.append) == "connected"
    assert by_celery == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "Connection refused" in caplog.text
    assert "is back after" in caplog.text
