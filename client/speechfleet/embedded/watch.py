"""A check that is made again and again in a thread of its own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Watch(ABC):
    """Calls `check` every ``interval`` seconds, from `start` to `stop`."""

    def __init__(self, name: str, interval: float) -> None:
        self._name = name
        self._interval = interval
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def check(self) -> object:
        """Look once."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.check()
