"""A worker process, started from here."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechfleet.errors import MisconfiguredError
from speechfleet.local.process import Child

WORKER_RANK = 1
"""Ends before the server."""


class WorkerProcess(Child):
    """``python -m speechfleet_worker ARGS``, from start to death.

    The worker writes the line ``ready <boot id>`` to its standard output when it takes jobs;
    whatever else it says is in ``log``. ``environ`` is its whole environment; ``grace`` the
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
        """The boot id; MisconfiguredError with its log where it is not ready in time."""
        told = self._ready.wait(timeout)
        if not self.boot_id:
            how = "ended" if told else "is not ready in time"
            raise MisconfiguredError(f"a worker {how} while starting:\n{self.last_words()}")
        return self.boot_id

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, self.log.open("ab") as log:
            for line in lines:
                word, _, boot_id = line.decode(errors="replace").strip().partition(" ")
                if word == "ready" and boot_id:
                    self.boot_id = boot_id
                    self._ready.set()
                else:
                    log.write(line)
                    log.flush()
        self._ready.set()
