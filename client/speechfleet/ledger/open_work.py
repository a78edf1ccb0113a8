"""Ask cheaply whether there is anything that the periodic work of workers could find."""

from __future__ import annotations

from collections.abc import Iterable

from speechfleet.ledger import batch_keys, keys, tenant_keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.message import BEHIND

SHARED = (
    *(keys.DELAYED, keys.RATE_LIMITS, batch_keys.FEEDS, keys.DELETIONS, keys.EXPIRING),
    tenant_keys.WEBHOOKS_PENDING,
)
"""Keys that exist only while somebody waits for time, room, a feeder or a sweep."""


class OpenWork:
    """Tells whether a worker's periodic work can rest."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def exists(self, boot: str, queues: Iterable[str]) -> bool:
        """Tell whether the fleet has work that is due some time, or this worker a job recorded.

        ``queues``: those whose messages this worker looks after: a queued job's may be lost.
        """
        pending = [keys.pending(list) for queue in queues for list in (queue, queue + BEHIND)]
        return bool(await self._scripts.call("EXISTS", *SHARED, keys.running(boot), *pending))
