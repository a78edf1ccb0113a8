"""Configure Celery: two tasks, whose messages only point to jobs.

Celery's consumer takes messages, and its pool, which is ours (`pool.py`), starts their jobs. Two
switches of Celery are off. Prefetching has no limit of its own, because a queue is asked only
while it has room (`slots.py`). kombu keeps no record of unacknowledged messages: it would cost two
transactions and a new client for every message, and a message that is lost with its worker is
found by its sequence number (`maintenance/sweeper.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from kombu.entity import Queue

from speechfleet.ledger.message import NUDGE, TASK
from speechfleet.settings import Settings
from speechfleet_worker import broker


def make_app(
    settings: Settings,
    queues: list[str],
    *,
    boot: str = "",
    events: bool = False,
    is_open: Callable[[str], bool] = lambda _: True,
) -> Celery:
    """Make the Celery application of one worker process.

    ``is_open``: tells whether a queue has room for another job; ``events``: answer remote
    control, which Flower and ``celery inspect`` ask.
    """
    broker.register_transports()
    app = Celery(
        "speechfleet",
        broker=broker.broker_url(settings),
        amqp=broker.connections_for(is_open),
        set_as_current=False,
    )
    app.conf.update(
        broker_use_ssl=broker.tls(settings),
        broker_transport_options=broker.transport_options(settings, f"worker-{boot}"),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # however long Redis is away
        broker_channel_error_retry=True,  # an error reply that is not foreseen is no end either
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_queues=[Queue(name, routing_key=name) for name in queues],  # type: ignore[no-untyped-call]  # kombu
        task_create_missing_queues=False,
        worker_prefetch_multiplier=0,
        worker_enable_prefetch_count_reduction=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=events,
    )
    for task in (TASK, NUDGE):
        app.task(name=task)(_only_in_the_pool)
    return app


def _only_in_the_pool(*_: object) -> None:
    """Is never called: the pool starts what a message points to."""
    raise NotImplementedError("a job runs only in speechfleet's own pool")
