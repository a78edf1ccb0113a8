"""The event loop of a worker process, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


TICK_S = 0.5
"""Interval at which the loop notes that it runs."""
BUSY_AFTER_S = 1.5
"""Without a tick for so long, the loop is busy with something that does not return."""


class LoopThread:
    """Runs the event loop of this process in a thread.

    It is uvloop's: most of the Python that a worker executes is the loop's own, a dozen steps
    for every chunk.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._started: set[asyncio.Task[None]] = set()
        self._ticked = self.loop.time()
        self.loop.call_soon(self._tick)
        threading.Thread(target=self._run, name="loop", daemon=True).start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            # Only a model that calls sys.exit() stops it. A heartbeat without a loop would keep
            # the jobs of this process from all other workers.
            os._exit(1)

    def _tick(self) -> None:
        self._ticked = self.loop.time()
        self.loop.call_later(TICK_S, self._tick)

    @property
    def busy(self) -> bool:
        """Tell whether some code has kept the loop from running anything else for a while."""
        return self.loop.time() - self._ticked > BUSY_AFTER_S

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it in this thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start a coroutine on the loop."""
        self.loop.call_soon_threadsafe(self._start, coroutine)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(coroutine)
        self._started.add(task)
        task.add_done_callback(self._started.discard)
