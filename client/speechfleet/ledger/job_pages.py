"""Pages of jobs across several states, whose cost does not grow with their distance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.jobs import read_listed
from speechfleet.lifecycle import State
from speechfleet.record import Record

Entry = tuple[float, bytes]
"""(time of the last change in milliseconds, name of the job)."""


class JobPages:
    """Read jobs of several states in the order of their last change.

    Each state has an index of its own, sorted by time. The time at which a page begins is found
    by bisection over counts, so that nothing before the page is read.
    """

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def page(
        self, namespace: str, states: Sequence[State], *, offset: int, count: int
    ) -> list[Record]:
        """Return ``count`` records from ``offset`` on, those that changed last first."""
        indices = [keys.index(namespace, state) for state in states]
        latest, skipped = await self._beginning(indices, offset)
        if latest is None:
            return []
        entries_by_state = await asyncio.gather(
            *(self._entries(index, latest, offset - skipped + count) for index in indices)
        )
        entries = sorted((entry for part in entries_by_state for entry in part), reverse=True)
        page = entries[offset - skipped : offset - skipped + count]
        return await read_listed(self._scripts, [name for _, name in page])

    async def _beginning(self, indices: Sequence[str], offset: int) -> tuple[float | None, int]:
        """Return the time at which a page begins, and the number of jobs that changed later.

        The time is None where the jobs end before the page.
        """
        call = self._scripts.call
        sizes = await asyncio.gather(*(call("ZCARD", index) for index in indices))
        if offset >= sum(map(int, sizes)):
            return None, 0
        ends = await asyncio.gather(
            *(
                call("ZRANGE", index, end, end, "WITHSCORES")
                for index in indices
                for end in (0, -1)
            )
        )
        times = [int(float(end[1])) for end in ends if end]
        if not times:
            return None, 0
        earliest, latest = min(times), max(times)
        if offset == 0:
            return float(latest), 0
        # Invariant: no more than `offset` jobs changed after `latest`.
        skipped = 0
        while earliest < latest:
            middle = (earliest + latest) // 2
            later = await self._count_after(indices, middle)
            if later <= offset:
                latest, skipped = middle, later
            else:
                earliest = middle + 1
        return float(latest), skipped

    async def _count_after(self, indices: Sequence[str], time: int) -> int:
        counts = await asyncio.gather(
            *(self._scripts.call("ZCOUNT", index, f"({time}", "+inf") for index in indices)
        )
        return sum(map(int, counts))

    async def _entries(self, index: str, latest: float, count: int) -> list[Entry]:
        flat = await self._scripts.call(
            "ZREVRANGEBYSCORE", index, latest, "-inf", "WITHSCORES", "LIMIT", 0, count
        )
        return [(float(flat[at + 1]), flat[at]) for at in range(0, len(flat), 2)]
