"""The event loop of a worker process, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


BUSY_AFTER_S = 1.5
"""A loop that does not run a callback for so long is busy with something that does not return."""


class LoopThread:
    """Runs the event loop of this process in a thread.

    It is uvloop's: most of the Python that a worker executes is the loop's own, a dozen steps
    for every chunk.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._started: set[asyncio.Task[None]] = set()
        self._probed_at: float | None = None
        threading.Thread(target=self._run, name="loop", daemon=True).start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            # Only a model that calls sys.exit() stops it. A heartbeat without a loop would keep
            # the jobs of this process from all other workers.
            os._exit(1)

    def is_busy(self) -> bool:
        """Tell whether some code has kept the loop from running anything else for a while.

        Each call starts a probe, unless one is under way: so it takes two calls to find out.
        """
        probed_at = self._probed_at
        if probed_at is not None:
            return time.monotonic() - probed_at > BUSY_AFTER_S
        self._probed_at = time.monotonic()
        self.loop.call_soon_threadsafe(self._answer_probe)
        return False

    def _answer_probe(self) -> None:
        self._probed_at = None

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
