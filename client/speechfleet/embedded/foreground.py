"""Several processes as one command in the foreground."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from speechfleet.embedded.reaper import REAPER
from speechfleet.embedded.worker_process import WORKER_RANK


def run_together(
    commands: Sequence[Sequence[str]], *, environ: Mapping[str, str], grace: float
) -> int:
    """Run processes on our own streams until all have ended; return the first failure's status.

    SIGTERM, SIGINT and the failure of one process stop all of them: a supervisor then starts
    this command anew. Each has ``grace`` seconds when we are killed. Where such a signal ends a
    process before it can drain, the status is 128 and the signal's number.
    """
    return asyncio.run(_Foreground(environ, grace).run(commands))


class _Foreground:
    """The processes of one command and the signal that it got."""

    def __init__(self, environ: Mapping[str, str], grace: float) -> None:
        self._environ = environ
        self._grace = grace
        self._processes: list[asyncio.subprocess.Process] = []
        self._received: signal.Signals | None = None
        self._stopping = False

    async def run(self, commands: Sequence[Sequence[str]]) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive, number)
        for command in commands:
            # A group of its own: the terminal's Ctrl-C comes through us, once.
            process = await asyncio.create_subprocess_exec(
                *command, process_group=0, env=self._environ
            )
            REAPER.watch(process.pid, rank=WORKER_RANK, grace=self._grace)
            self._processes.append(process)
            if self._stopping:  # the signal came while it was being started
                self._stop()
        first = 0
        for ended in asyncio.as_completed([process.wait() for process in self._processes]):
            status = self._exit_status(await ended)
            if status and not first:
                first = status
                self._stop()
        for process in self._processes:
            REAPER.forget(process.pid)
        return first

    def _receive(self, number: signal.Signals) -> None:
        self._received = self._received or number
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.terminate()

    def _exit_status(self, returncode: int) -> int:
        """Our own status for that of a process; negative: the signal that ended it."""
        if returncode >= 0:
            return returncode
        if returncode == -signal.SIGTERM and self._stopping:
            return 128 + self._received if self._received is not None else 0
        return 128 - returncode
