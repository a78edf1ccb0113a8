"""The worker processes of an embedded fleet."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from speechfleet.embedded.restart import keep_alive
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import MisconfiguredError

READY_TIMEOUT_S = 300.0
"""For all workers of one call, on a machine that is busy starting them."""


class WorkerPool:
    """Start workers, keep them alive, and stop them together. Thread-safe.

    ``environ`` returns the whole environment of a worker that starts now; each worker has a log
    in the folder ``logs``. ``members`` holds all workers, dead or alive; one that is started
    again replaces its predecessor.
    """

    def __init__(
        self,
        logs: Path,
        environ: Callable[[], Mapping[str, str]],
        *,
        grace: float,
        supervise: bool,
    ) -> None:
        self.members: list[WorkerProcess] = []
        self._logs = logs
        self._environ = environ
        self._grace = grace
        self._supervise = supervise
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def launch(self, arguments: Sequence[Sequence[str]]) -> list[WorkerProcess]:
        """Start a worker for each of the arguments, and wait until all of them take jobs.

        Raises MisconfiguredError.
        """
        workers = [
            self._start(args, self._logs / f"worker-{next(self._numbers)}.log")
            for args in arguments
        ]
        end = time.monotonic() + READY_TIMEOUT_S
        for worker in workers:
            worker.await_ready(max(0.0, end - time.monotonic()))
            if self._supervise:
                self._keep(worker)
        return workers

    def stop(self) -> None:
        """Send SIGTERM to all, wait ``grace`` seconds, then send SIGKILL. Final; idempotent."""
        self._stopping.set()
        with self._lock:
            workers = list(self.members)
        for worker in workers:
            worker.kill(signal.SIGTERM)
            worker.kill(signal.SIGCONT)  # A stopped process would not see its SIGTERM.
        end = time.monotonic() + self._grace
        for worker in workers:
            worker.end(end - time.monotonic())

    def _start(self, args: Sequence[str], log: Path) -> WorkerProcess:
        with self._lock:
            if self._stopping.is_set():
                raise MisconfiguredError("the embedded fleet does not run")
            worker = WorkerProcess(args, environ=self._environ(), log=log, grace=self._grace)
            self.members.append(worker)
        return worker

    def _keep(self, worker: WorkerProcess) -> None:
        dead = worker

        def again() -> WorkerProcess:
            nonlocal dead
            replacement = self._start(dead.args, dead.log)
            with self._lock:
                self.members.remove(dead)
            dead = replacement
            return replacement

        keep_alive(worker.log.stem, worker, again, self._stopping)
