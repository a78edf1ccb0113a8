"""Starts workers, and again those that libfaketime has crashed before they took jobs."""

from __future__ import annotations

import signal
from typing import Protocol

from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import MisconfiguredError

TRIES = 5
READ_WITHIN_S = 5.0
"""Seconds in which all that a dead worker wrote has been read."""


class Fleet(Protocol):
    """What starts workers."""

    def start_worker(self, *args: str) -> WorkerProcess: ...


def start_worker(fleet: Fleet, *args: str) -> WorkerProcess:
    """Start a worker; libfaketime crashes one in some hundred while Python starts."""
    for _ in range(TRIES - 1):
        try:
            return fleet.start_worker(*args)
        except MisconfiguredError as error:
            if not crashed(error):
                raise
    return fleet.start_worker(*args)


def crashed(error: MisconfiguredError) -> bool:
    """Tell whether a worker did not start because it died of SIGSEGV."""
    return f"with status {-signal.SIGSEGV}:" in str(error)


def crashed_while_starting(worker: WorkerProcess, status: int) -> bool:
    """Tell whether a worker that has ended died of SIGSEGV before it took jobs."""
    if status != -signal.SIGSEGV:
        return False
    try:
        worker.await_ready(READ_WITHIN_S)
    except MisconfiguredError:
        return True
    return False
