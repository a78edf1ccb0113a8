"""Several processes as one command in the foreground."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress

from speechfleet.local.guard import GUARD
from speechfleet.local.worker import WORKER_RANK


def run_together(commands: Sequence[Sequence[str]], *, grace: float) -> int:
    """Run them on our own streams until all have ended; the first status that is not 0.

    SIGTERM and SIGINT are for all of them, and so is the end of one that failed: whoever
    supervises this command starts it anew. Each has ``grace`` seconds when we are killed.
    """
    return asyncio.run(_run(commands, grace))


async def _run(commands: Sequence[Sequence[str]], grace: float) -> int:
    processes = [
        # A group of its own: the terminal's Ctrl-C comes through us, once.
        await asyncio.create_subprocess_exec(*command, process_group=0)
        for command in commands
    ]

    def stop() -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                process.terminate()

    for process in processes:
        GUARD.watch(process.pid, rank=WORKER_RANK, grace=grace)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    first = 0
    for ended in asyncio.as_completed([process.wait() for process in processes]):
        status = await ended
        if status and not first:
            first = abs(status)
            stop()
    for process in processes:
        GUARD.forget(process.pid)
    return first
