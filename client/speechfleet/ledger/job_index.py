"""The indexes of ended jobs, cleared of the records that have expired."""

from __future__ import annotations

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.lifecycle import State

NAMES_AT_ONCE = 500
ENDED_STATES = frozenset(state.value for state in State if state.terminal)


class JobIndex:
    """The names of jobs by namespace, state, and the time of their last change."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts
        self._lifetime_ms = int(connection.settings.record_ttl * 1000)

    async def forget_expired(self) -> None:
        """Take jobs whose record has expired out of the indexes of ended jobs."""
        cursor = b"0"
        while True:
            cursor, found = await self._scripts.call(
                "SCAN", cursor, "MATCH", keys.indexes(), "COUNT", 1000, "TYPE", "zset"
            )
            for key in found:
                if key.decode().rpartition(":")[2] in ENDED_STATES:
                    with skip_on_error(f"clear {key.decode()}"):
                        await self._clear(key.decode())
            if int(cursor) == 0:
                return

    async def _clear(self, index: str) -> None:
        """Look at all names that are old enough, by the server's clock. The record decides: this
        host's clock and settings do not.
        """
        offset = 0
        while True:
            looked_at, removed = await self._scripts.run(
                "forget", (index,), keys.RECORDS, self._lifetime_ms, offset, NAMES_AT_ONCE
            )
            offset += looked_at - removed
            if looked_at < NAMES_AT_ONCE:
                return
