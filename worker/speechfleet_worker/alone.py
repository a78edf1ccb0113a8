"""Jobs that several workers died of: each runs in a process of its own, without neighbours."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import Process as Child

from speechfleet.ledger import Fleet
from speechfleet.message import Hint
from speechfleet_worker.process import new_boot

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Such processes that one worker starts at a time."""


class Alone:
    """The processes that one worker has started for such jobs."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._room = asyncio.Semaphore(AT_ONCE)
        self._children: set[Child] = set()

    async def run(self, hint: Hint) -> None:
        """Until the job has ended, or has taken the process along."""
        async with self._room:
            boot = new_boot()
            log.warning("runs alone as %s", boot, extra={"job": hint.name})
            command = ("--alone", hint.name, "--sequence", hint.sequence, "--boot", boot)
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
                await self._fleet.bury(boot, f"its process ended with status {status}")

    def drain(self) -> None:
        """They have the same grace time, and hand over what is left after it."""
        for child in self._children:
            child.terminate()

    async def drained(self) -> None:
        children = [asyncio.ensure_future(child.wait()) for child in self._children]
        if children:
            await asyncio.wait(children)
