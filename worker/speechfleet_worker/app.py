"""Celery, thin: two tasks, configured so that their messages are only hints.

Acknowledged late, so that a process holds no more messages than it has slots; that the broker
may deliver one twice does no harm, because only the record grants a job. Every process keeps
its own unacked keys: what a dead one held is found under its boot id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.entity import Queue

from speechfleet import keys
from speechfleet.message import NUDGE, TASK, Hint
from speechfleet.settings import Settings

log = logging.getLogger(__name__)

RESUME_WITHIN = 0.1
"""Seconds of one BRPOP: a queue that is consumed again takes part from the next one on."""
FOREVER = 10 * 365 * 86400
"""kombu's own redelivery is switched off: recovery is ours."""


def make_app(
    settings: Settings,
    boot: str,
    queues: list[str],
    take: Callable[[Hint, str], None],
    nudge: Callable[[str], None],
) -> Celery:
    """The Celery application of one worker process.

    ``take`` a job, and return once its slot is free again; ``nudge`` a session by name.
    """
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    app = Celery("speechfleet", broker=_broker_url(url), set_as_current=False)
    options: dict[str, Any] = {
        "visibility_timeout": FOREVER,
        "unacked_key": keys.unacked(boot),
        "unacked_index_key": keys.unacked_index(boot),
        "unacked_mutex_key": keys.unacked_mutex(boot),
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
        delivery = self.request.delivery_info or {}
        take(Hint(name, str(sequence)), delivery.get("routing_key", ""))

    def wake(name: str, sequence: str) -> None:
        nudge(name)

    app.task(name=TASK, bind=True)(speak)
    app.task(name=NUDGE)(wake)
    return app


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
