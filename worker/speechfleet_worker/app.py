"""Celery, thin: two tasks, configured so that their messages are only hints.

Acknowledged late, so that a process holds no more messages than it has slots. kombu's own
record of what is not acknowledged is switched off: it costs two transactions and a new client
for every message, and a message that is lost with its worker is found by its sequence number
(`recovery.py`).

A job runs on the loop and needs no thread, so its message is handed there as it comes. As a task
of the pool, with a thread that waits for its end, it costs half as much again as all the rest of
a short job; Celery tells of its tasks only then, so that is for those who ask for its events.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.exceptions import InvalidTaskError
from kombu.entity import Queue

from speechfleet.message import NUDGE, TASK, Hint
from speechfleet.settings import Settings

log = logging.getLogger(__name__)

RESUME_WITHIN = 0.1
"""Seconds of one BRPOP: a queue that is consumed again takes part from the next one on."""


def make_app(
    settings: Settings,
    queues: list[str],
    take: Callable[[Hint, str, Callable[[], object]], None],
    nudge: Callable[[str], None] | None = None,
    *,
    events: bool = False,
) -> Celery:
    """The Celery application of one worker process.

    ``take(hint, queue, done)`` starts a job, and calls ``done``, from any thread, once its slot
    is free again; ``nudge`` a session by name, in a process that holds some. ``events``: jobs
    are tasks of the pool.
    """
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    app = Celery("speechfleet", broker=_broker_url(url), set_as_current=False)
    options: dict[str, Any] = {
        "ack_emulation": False,
        "priority_steps": [0, 3],  # the head of the line, and what is behind it
        "max_connections": 300,
        "polling_interval": RESUME_WITHIN,
        "health_check_interval": 25,
        "socket_keepalive": not url.startswith("unix"),
        "socket_connect_timeout": 5,
        "socket_timeout": 30,
    }
    if url.startswith("sentinel://"):
        options["master_name"] = urlsplit(url).path.strip("/").partition("/")[0]
    app.conf.update(
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # however long Redis is away
        task_ignore_result=True,
        task_acks_late=True,
        task_serializer="json",
        accept_content=["json"],
        task_queues=[Queue(name, routing_key=name) for name in queues],  # type: ignore[no-untyped-call]  # kombu
        task_create_missing_queues=False,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
    )

    def speak(self: Any, name: str, sequence: str) -> None:
        delivery, done = self.request.delivery_info or {}, threading.Event()
        take(Hint(name, str(sequence)), delivery.get("routing_key", ""), done.set)
        done.wait()

    def hand_on(message: Any, done: Callable[[], object]) -> None:
        (name, sequence), *_ = message.decode()
        take(Hint(name, str(sequence)), message.delivery_info.get("routing_key", ""), done)

    def hand_on_nudge(message: Any, done: Callable[[], object]) -> None:
        done()
        (name, *_), *_ = message.decode()
        assert nudge is not None
        nudge(name)

    options = {"bind": True} if events else {"bind": True, "Strategy": _at_once(hand_on)}
    app.task(name=TASK, **options)(speak)
    if nudge is not None:
        app.task(name=NUDGE, Strategy=_at_once(hand_on_nudge))(nudge)
    return app


def _at_once(
    hand_on: Callable[[Any, Callable[[], object]], None],
) -> Callable[..., Callable[..., None]]:
    """How Celery treats a message: as it comes, on its own thread, not as a task of the pool."""

    def strategy(task: object, app: object, consumer: Any, **_: object) -> Callable[..., None]:
        def received(message: Any, *_: object, **__: object) -> None:
            def done() -> None:
                full = not message.channel.qos.can_consume()
                message.ack()
                if full:  # Celery's loop sleeps until somebody tells it that there is room
                    consumer.call_soon(lambda: None)

            try:
                hand_on(message, done)
            except (TypeError, ValueError) as error:
                raise InvalidTaskError(f"not a message of speechfleet: {error}") from error

        return received

    return staticmethod(strategy)


def _broker_url(url: str) -> str:
    """Celery's own spelling of our URL."""
    if url.startswith("unix://"):
        return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
    if url.startswith("sentinel://"):
        parts = urlsplit(url)
        auth, at, hosts = parts.netloc.rpartition("@")
        database = parts.path.strip("/").partition("/")[2] or "0"
        return ";".join(f"sentinel://{auth}{at}{host}/{database}" for host in hosts.split(","))
    return url
