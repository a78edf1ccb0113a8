"""Celery, thin: one task, configured so that its message is only a hint.

Acknowledged late, so that a process holds no more messages than it has slots. kombu's own
record of what is not acknowledged is switched off: it costs two transactions and a new client
for every message, and a message that is lost with its worker is found by its sequence number
(`recovery.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.entity import Queue

from speechfleet.message import TASK, Hint
from speechfleet.settings import Settings

log = logging.getLogger(__name__)

RESUME_WITHIN = 0.1
"""Seconds of one BRPOP: a queue that is consumed again takes part from the next one on."""


def make_app(settings: Settings, queues: list[str], take: Callable[[Hint, str], None]) -> Celery:
    """The Celery application of one worker process; ``take`` blocks until the job has ended."""
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    app = Celery("speechfleet", broker=_broker_url(url), set_as_current=False)
    options: dict[str, Any] = {
        "ack_emulation": False,
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

    app.task(name=TASK, bind=True)(speak)
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
