"""Waiting for a job or for Redis: how long, and what to tell the user meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from speechfleet.context import Context
from speechfleet.errors import FleetFull, FleetUnavailable, SpeechFleetError
from speechfleet.record import Record

log = logging.getLogger(__name__)
T = TypeVar("T")

NOTICE_AFTER_S = 3.0
"""Silence after which the user is told that no worker takes a job."""
REASON_TIMEOUT_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
"""Between attempts while Redis is away; it doubles."""


async def outlast(patience_s: float, call: Callable[[], Awaitable[T]]) -> T:
    """Return the call's result, repeating it while Redis is away, for so many seconds.

    Raises FleetUnavailable after that, and FleetFull at once: room is not a matter of seconds.
    """
    clock = asyncio.get_running_loop().time
    end, pause = clock() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except FleetFull:
            raise
        except FleetUnavailable:
            if clock() + pause > end:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


async def reason_for_waiting(context: Context, record: Record) -> str:
    """Return why no worker takes this job, and what to do; "" where it only waits its turn."""
    workers = context.ledger.workers
    if await workers.waiting(record) != "no_worker":
        return ""
    provider, lane = record.provider, record.lane
    known = await workers.known()
    if not known:
        return "no worker is running: start one with `speechfleet worker`, or `speechfleet up`"
    missing = [worker.providers[provider] for worker in known if worker.providers.get(provider)]
    if missing:
        return (
            f"no worker serves {provider!r}: {missing[0]}, in the environment of the workers, "
            "and start them again"
        )
    return (
        f"no worker serves {provider!r} in lane {str(lane)!r}: start one with `speechfleet worker "
        f"--lanes {lane}`, where that provider is installed and set up"
    )


class WaitNotice:
    """Warns, once, that a job waits for a worker that is not there."""

    def __init__(self, context: Context, id: str) -> None:
        self._context = context
        self._id = id
        self._given = False

    async def look(self, record: Record) -> None:
        """Log a warning if nobody takes the job of this record. Never raises."""
        if self._given:
            return
        with contextlib.suppress(SpeechFleetError):
            if reason := await reason_for_waiting(self._context, record):
                self._given = True
                log.warning("job %r waits: %s", self._id, reason)

    async def watch(self) -> None:
        """Look again and again, until cancelled. Never raises."""
        jobs, namespace = self._context.ledger.jobs, self._context.namespace
        while not self._given:
            await asyncio.sleep(NOTICE_AFTER_S)
            with contextlib.suppress(SpeechFleetError):
                await self.look(await jobs.load(namespace, self._id))

    async def reason(self) -> str:
        """Return why the job waits at this moment, or "" if that cannot be found out soon."""
        jobs, namespace = self._context.ledger.jobs, self._context.namespace
        with contextlib.suppress(SpeechFleetError, TimeoutError):
            async with asyncio.timeout(REASON_TIMEOUT_S):
                return await reason_for_waiting(
                    self._context, await jobs.load(namespace, self._id)
                )
        return ""
