"""Look up API keys that are kept in Redis, and remember each for a second."""

from __future__ import annotations

import time
from collections import OrderedDict

from speechfleet.gateway.access import Caller
from speechfleet.ledger.ledger import Ledger

REMEMBERED_S = 1.0
"""Seconds after which a revoked key opens nothing any more."""
MOST_REMEMBERED = 1000


class StoredKeys:
    """The API keys that ``speechfleet keys`` has made."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    async def caller(self, digest: str) -> Caller | None:
        """Return who the key with this digest belongs to; None where it opens nothing.

        Raises FleetUnavailable.
        """
        now = time.monotonic()
        until, caller = self._known.get(digest, (0.0, None))
        if now < until:
            return caller
        self._known.pop(digest, None)
        await self._ledger.open()
        key = await self._ledger.api_keys.find(digest)
        if key is None or (key.expires is not None and time.time() >= key.expires):
            return None
        caller = Caller(key.namespace, digest, frozenset(key.scopes))
        self._known[digest] = (now + REMEMBERED_S, caller)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return caller
