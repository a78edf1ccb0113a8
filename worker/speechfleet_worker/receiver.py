"""The way of a message from Celery's thread to the event loop, and of its end back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speechfleet.ledger.message import JobMessage
from speechfleet_worker.event_loop import LoopThread
from speechfleet_worker.middleware import JobOutcome
from speechfleet_worker.pool import Ended
from speechfleet_worker.slots import Slot
from speechfleet_worker.worker import Worker


class MessageReceiver:
    """Runs the job of each message on the loop, in a slot from the message on."""

    def __init__(self, worker: Worker, loop: LoopThread) -> None:
        self._worker = worker
        self._loop = loop
        self._slots = worker.context.slots
        self._slots.on_room = self._ask_again
        self.consumer: Any = None
        """Celery's consumer, once it consumes; it outlasts its connections."""

    def start(self, message: JobMessage, queue: str, ended: Ended) -> None:
        """Run the job whose turn it is in the queue; called on Celery's thread."""
        slot = self._slots.take(queue)  # at once: the next look for messages counts this one
        self._loop.start(self._run(message, slot, ended))

    async def _run(self, message: JobMessage, slot: Slot, ended: Ended) -> None:
        job, outcome = message.name, JobOutcome("lost")
        try:
            job, outcome = await self._worker.take(message, slot)
        finally:
            slot.leave()
            ended(job, outcome)

    def nudge(self, name: str) -> None:
        """Tell a session that it has more text; called on Celery's thread."""
        self._loop.loop.call_soon_threadsafe(self._worker.nudges.take, name)

    def on_celery_thread(self, function: Callable[[], object]) -> None:
        """Call a function on Celery's thread, which wakes up for it."""
        self.consumer.call_soon(function)

    def _ask_again(self) -> None:
        """Let the consumer ask the queues that have room again; Celery's loop may sleep."""
        self.on_celery_thread(self._resume)

    def _resume(self) -> None:
        if (consumer := self.consumer.task_consumer) is not None:
            consumer.channel.resume()
