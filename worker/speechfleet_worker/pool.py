"""Celery's pool of a worker process: jobs run on its event loop, and need no thread or process.

Celery calls a pool once for each message. All else that it offers (acknowledgement, task events,
``celery inspect``) hangs on two callbacks: one for a task that is accepted, one for its end.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

from celery.concurrency.base import BasePool
from celery.exceptions import InvalidTaskError
from kombu.exceptions import ContentDisallowed

from speechfleet.errors import SpeechFleetError
from speechfleet.ledger.message import NUDGE, JobMessage
from speechfleet_worker.middleware import JobOutcome

ACCEPTED = "application/json"

Ended = Callable[[str, JobOutcome], object]
"""Is called, on any thread, with the name of the job that was run and its outcome."""


class Receiver(Protocol):
    """Takes the messages: the worker, as Celery's thread sees it."""

    def start(self, message: JobMessage, queue: str, ended: Ended) -> None:
        """Run the job whose turn it is in the queue."""

    def nudge(self, name: str) -> None:
        """Tell a session that it has more text."""

    def on_celery_thread(self, function: Callable[[], object]) -> None:
        """Call a function soon where Celery expects to be called."""


class JobPool(BasePool):  # type: ignore[misc]  # Celery has no types
    """Hands each message to the receiver; Celery makes the object, of the class from `pool_of`."""

    body_can_be_buffer = True
    signal_safe = False
    receiver: ClassVar[Receiver]

    def on_apply(
        self,
        target: object,
        args: tuple[Any, ...],
        kwargs: object = None,
        *,
        callback: Callable[..., object],
        accept_callback: Callable[..., object],
        **_: object,
    ) -> None:
        """Accept a message, and start what it asks for; on Celery's thread.

        Raises InvalidTaskError for a message of somebody else's, which Celery then drops.
        """
        task, _, request, body, content_type, _ = args
        try:
            (name, sequence, *_), *_ = _decoded(body, content_type)
            message = JobMessage(_text(name), str(sequence))
            queue = str(request["delivery_info"]["routing_key"])
        except (TypeError, ValueError, KeyError) as error:
            raise InvalidTaskError(f"not a message of speechfleet: {error!r}") from error
        began = time.monotonic()

        def ended(job: str, outcome: JobOutcome) -> None:
            report = _report(job, outcome, time.monotonic() - began)
            self.receiver.on_celery_thread(lambda: callback(report))

        accept_callback(os.getpid(), began)
        if task == NUDGE:
            self.receiver.nudge(message.name)
            ended(message.name, JobOutcome("succeeded"))
        else:
            self.receiver.start(message, queue, ended)


def pool_of(receiver: Receiver) -> type[JobPool]:
    """Make the class of a worker's pool."""
    return type("JobPool", (JobPool,), {"receiver": receiver, "__module__": __name__})


def _decoded(body: str | bytes | memoryview, content_type: str) -> Any:
    """Read the body of a message; kombu's own way takes four times as long.

    Raises ValueError; ContentDisallowed for anything but JSON.
    """
    if content_type != ACCEPTED:
        raise ContentDisallowed(f"refusing a message of the type {content_type}")
    return json.loads(bytes(body) if isinstance(body, memoryview) else body)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} names no job")
    return value


class TaskFailed(SpeechFleetError):
    """A job that failed, as Celery's events show it."""

    code = "task_failed"


def _report(job: str, outcome: JobOutcome, seconds: float) -> tuple[int, object, float]:
    """Say how a task ended, as Celery's request takes it: (failed, result, seconds)."""
    if outcome.state != "failed":
        return 0, f"{job}: {outcome.state}", seconds
    error = TaskFailed(f"{job}: {outcome.code}: {outcome.message}")
    return 1, SimpleNamespace(exception=error, traceback=None), seconds
