"""Isolated jobs: several workers died of each, so it runs in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import Process as Child

from speechfleet.ledger import Workers
from speechfleet.ledger.message import JobMessage
from speechfleet_worker.context import new_boot

log = logging.getLogger(__name__)

MAX_PROCESSES = 2
"""Isolated jobs that one worker runs at a time."""


class IsolatedJobs:
    """The processes that one worker has started for isolated jobs."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._room = asyncio.Semaphore(MAX_PROCESSES)
        self._children: set[Child] = set()

    async def run(self, message: JobMessage) -> None:
        """Run a job in a process of its own until that ends."""
        async with self._room:
            boot = new_boot()
            log.warning("runs isolated, as worker %s", boot, extra={"job": message.name})
            command = ("--isolated", message.name, "--sequence", message.sequence, "--boot", boot)
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "speechfleet_worker", *command
            )
            self._children.add(child)
            try:
                status = await child.wait()
            finally:
                self._children.discard(child)
                if child.returncode is None:
                    child.kill()
            if status:
                await self._workers.recover_jobs(boot, f"its process ended with status {status}")

    def drain(self) -> None:
        """Let the processes end: they hand over their job after the same grace time."""
        for child in self._children:
            child.terminate()

    async def drained(self) -> None:
        """Wait until every process has ended."""
        children = [asyncio.ensure_future(child.wait()) for child in self._children]
        if children:
            await asyncio.wait(children)
