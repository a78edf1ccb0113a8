"""Run a child process from start to death, in a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from speechfleet.embedded.reaper import REAPER
from speechfleet.observability.logs import rotate

ROTATION_INTERVAL_S = 2.0
"""Seconds between looks at the size of a log file."""


class ChildProcess:
    """A child process that does not outlive this one (see `reaper`).

    A process group of its own keeps the terminal's Ctrl-C away: this process decides in which
    order the children stop. Output is appended to ``log`` (``stdout``: goes elsewhere).
    ``stdin`` is written to its standard input, which is then closed; ``keep_open`` are
    descriptors that it inherits. ``rank`` and ``grace``: as in `Reaper.watch`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        rank: int,
        grace: float,
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        stdout: int | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        self.log = log
        self.grace = grace
        self._ended = threading.Event()
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output if stdout is None else stdout,
                stderr=output,
                env=environ,
                pass_fds=keep_open,
                process_group=0,
            )
        REAPER.watch(self.pid, rank=rank, grace=grace)
        threading.Thread(target=self._wait, name=f"wait for {self.pid}", daemon=True).start()
        threading.Thread(target=self._rotate, name=f"rotate {log.name}", daemon=True).start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(stdin)

    def _wait(self) -> None:
        self._process.wait()
        REAPER.forget(self.pid)
        self._ended.set()

    def _rotate(self) -> None:
        while not self._ended.wait(ROTATION_INTERVAL_S):
            rotate(self.log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, but not to its children; no-op once it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status (negative: the signal that ended it). Raises TimeoutError."""
        if not self._ended.wait(timeout):
            raise TimeoutError(f"process {self.pid} did not end within {timeout:g} s")
        return self._process.returncode

    def stop(self) -> int:
        """Send SIGTERM, wait ``grace`` seconds, then SIGKILL the whole group. Idempotent."""
        self.kill(signal.SIGTERM)
        self.kill(signal.SIGCONT)  # A stopped process would not see its SIGTERM.
        return self.end(self.grace)

    def end(self, within: float) -> int:
        """Wait ``within`` seconds for the end, then enforce it with SIGKILL."""
        try:
            return self.wait(max(0.0, within))
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            return self.wait()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of this process's log, for an error message."""
        with self.log.open("rb") as log:
            size = self.log.stat().st_size
            start = self._log_start if self._log_start <= size else 0  # it was rotated
            log.seek(max(start, size - 16_384))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(its log is empty)"
