"""Pages of batches, newest first."""

from __future__ import annotations

import asyncio

from speechfleet.ledger import batch_keys as keys
from speechfleet.ledger.batch_status import BatchStatus
from speechfleet.ledger.batches import Batches, read_listed
from speechfleet.ledger.connection import Connection


class BatchPages:
    """Read a few batches of a namespace, however many there are."""

    def __init__(self, connection: Connection, batches: Batches) -> None:
        self._scripts = connection.scripts
        self._batches = batches

    async def page(self, namespace: str, *, offset: int, count: int) -> list[BatchStatus]:
        """Return at most ``count`` batches; those that have expired are forgotten."""
        index = keys.batches(namespace)
        names = await self._scripts.call("ZREVRANGE", index, offset, offset + count - 1)
        found = await asyncio.gather(
            *(read_listed(self._scripts, self._batches, namespace, name) for name in names)
        )
        return [status for status in found if status is not None]
