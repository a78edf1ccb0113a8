"""The bytes of audio that all chunk streams hold together."""

from __future__ import annotations

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection

RECLAIMED_AT_ONCE = 50
"""Streams: a few hundred kilobytes each, so that the server is busy for half a millisecond."""


class StreamBudget:
    """Counts the audio in Redis; `Lease.publish` keeps it below ``stream_bytes``."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def bytes(self) -> int:
        """Return the bytes of audio in all streams."""
        return int(await self._scripts.call("GET", keys.BYTES) or 0)

    async def reclaim(self) -> int:
        """Remove the streams that have expired, and give back their room; return their number.

        A call removes few at a time: while the script runs, nobody else is served.
        """
        removed, found = 0, RECLAIMED_AT_ONCE
        while found == RECLAIMED_AT_ONCE:
            found = int(
                await self._scripts.run(
                    "reclaim", (keys.EXPIRING, *keys.STREAM_COUNTERS), RECLAIMED_AT_ONCE
                )
            )
            removed += found
        return removed
