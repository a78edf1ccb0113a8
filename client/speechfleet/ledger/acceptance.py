"""Acceptance: what was just written is confirmed by replicas before the caller learns of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from speechfleet.errors import FleetUnavailable
from speechfleet.ledger import keys
from speechfleet.ledger.scripts import Scripts

T = TypeVar("T")

WAIT_MS = 1000
"""Milliseconds that the replicas have to confirm a write; they need one, mostly. Other commands
of this process wait for as long, and a connection that is silent for longer counts as dead."""
CONFIRMED_FOR_S = 60
ATTEMPTS = 5


class Acceptance:
    """Repeats a write until enough replicas have it (``SPEECHFLEET_ACCEPT_REPLICAS``).

    Redis replicates asynchronously: what a primary acknowledged is gone when it dies before a
    replica had it. With 0 replicas nothing is waited for.
    """

    def __init__(self, scripts: Scripts, replicas: int) -> None:
        self._scripts = scripts
        self._replicas = replicas

    async def of(self, write: Callable[[], Awaitable[T]]) -> T:
        """Return the reply of ``write`` once it is confirmed; ``write`` must be idempotent.

        Raises FleetUnavailable: it may be written nevertheless, and can be repeated.
        """
        if not self._replicas:
            return await write()
        confirmed = 0
        for _ in range(ATTEMPTS):
            connects = self._scripts.pipe.connects
            reply = await write()
            confirmed = await self._confirmed()
            if confirmed >= self._replicas and connects == self._scripts.pipe.connects:
                return reply
            # Over another connection it may be another server that has confirmed.
            if connects == self._scripts.pipe.connects:
                break
        raise FleetUnavailable(
            f"{confirmed} of {self._replicas} replicas have confirmed what was written "
            "(SPEECHFLEET_ACCEPT_REPLICAS): repeat the call; are the replicas running?"
        )

    async def _confirmed(self) -> int:
        """Count the replicas that have all writes up to now.

        WAIT is about the last write of its own connection: this one follows what is asked for.
        Both are sent in one write.
        """
        mark = self._scripts.call("SET", keys.ACCEPTED, "1", "EX", CONFIRMED_FOR_S)
        wait = self._scripts.call("WAIT", self._replicas, WAIT_MS)
        _, confirmed = await asyncio.gather(mark, wait)
        return int(confirmed)
