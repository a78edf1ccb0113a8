"""A worker process, started from here."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from speechfleet.embedded.child_process import ChildProcess
from speechfleet.errors import MisconfiguredError

WORKER_RANK = 1
"""Ends before the server."""
END_TIMEOUT_S = 5.0
"""Seconds that a worker gets to end once it has closed its output."""


class WorkerProcess(ChildProcess):
    """A process ``python -m speechfleet_worker ARGS``.

    The worker writes the line ``ready <boot id>`` to its standard output when it takes jobs;
    all other output goes to ``log``. ``environ`` is its whole environment; ``grace`` the
    seconds that `stop` leaves it for its jobs.
    """

    def __init__(
        self, args: Sequence[str], *, environ: Mapping[str, str], log: Path, grace: float
    ) -> None:
        super().__init__(
            [sys.executable, "-m", "speechfleet_worker", *args],
            environ=environ,
            log=log,
            rank=WORKER_RANK,
            grace=grace,
            stdout=subprocess.PIPE,
        )
        self.args = list(args)
        self.boot_id = ""
        self._ready = threading.Event()
        threading.Thread(target=self._read, name=f"read {self.pid}", daemon=True).start()

    def await_ready(self, timeout: float) -> str:
        """Wait for the boot id. Raises MisconfiguredError with the end of the log."""
        reported = self._ready.wait(timeout)
        if not self.boot_id:
            trouble = "ended while starting" if reported else "is not ready in time"
            if reported:  # its output is closed, so it ends in a moment
                with suppress(TimeoutError):
                    trouble += f", with status {self.wait(END_TIMEOUT_S)}"
            raise MisconfiguredError(f"a worker {trouble}:\n{self.log_tail()}")
        return self.boot_id

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                word, _, boot_id = line.decode(errors="replace").strip().partition(" ")
                if word == "ready" and boot_id:
                    self.boot_id = boot_id
                    self._ready.set()
                else:
                    self._append_to_log(line)
        self._ready.set()

    def _append_to_log(self, line: bytes) -> None:
        # A full disk must not end the reading thread: the worker would lose its standard
        # output, and nobody would see that it is ready.
        with suppress(OSError), self.log.open("ab", buffering=0) as log:
            log.write(line)
