"""One child process, from start to death, in a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from speechfleet.local.guard import GUARD


class Child:
    """A child process that does not outlive this one (see `guard`).

    Its own process group keeps the terminal's Ctrl-C from it: who started it decides in
    which order things stop. What it writes goes to ``log``, appended (``stdout``: elsewhere);
    ``given`` is written to its standard input, which is then closed; ``keep_open`` are
    descriptors that it inherits. ``rank`` and ``grace``: as in `Guard.watch`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        rank: int,
        grace: float,
        environ: Mapping[str, str] | None = None,
        given: bytes = b"",
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
        GUARD.watch(self.pid, rank=rank, grace=grace)
        threading.Thread(target=self._wait, name=f"wait for {self.pid}", daemon=True).start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(given)

    def _wait(self) -> None:
        self._process.wait()
        GUARD.forget(self.pid)
        self._ended.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process alone; no-op once it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status (negative: the signal that ended it); TimeoutError."""
        if not self._ended.wait(timeout):
            raise TimeoutError(f"process {self.pid} did not end within {timeout:g} s")
        return self._process.returncode

    def stop(self) -> int:
        """SIGTERM, ``grace`` seconds, then SIGKILL to the whole group. Idempotent."""
        self.kill(signal.SIGTERM)
        self.kill(signal.SIGCONT)  # A stopped process would not see its SIGTERM.
        return self.end(self.grace)

    def end(self, within: float) -> int:
        """Wait ``within`` seconds for an end that was asked for, then enforce it."""
        try:
            return self.wait(max(0.0, within))
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            return self.wait()

    def last_words(self, lines: int = 20) -> str:
        """The end of what it wrote to its log, for an error message."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - 16_384))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(its log is empty)"
