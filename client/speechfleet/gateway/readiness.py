"""Probes of what a gateway depends on: Redis and the object store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from speechfleet.client import AsyncClient
from speechfleet.errors import ObjectMissing, SpeechFleetError

PROBE = "speechfleet-probe/ready"
PROBE_TIMEOUT_S = 3.0
CACHE_S = 1.0
"""Seconds for which callers without a key get the last result of the probes."""
OK = "ok"


class Readiness:
    """Ask Redis and the object store whether they answer."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._at = float("-inf")
        self._states: dict[str, str] = {}

    async def recent(self) -> dict[str, str]:
        """Return states that are at most `CACHE_S` old: many callers cost one probe."""
        async with self._lock:
            if time.monotonic() - self._at > CACHE_S:
                self._states = await self.probe()
                self._at = time.monotonic()
            return self._states

    async def probe(self) -> dict[str, str]:
        """Return "ok", or the reason, of each."""
        redis, store = await asyncio.gather(_tried(self._redis()), _tried(self._store()))
        return {"redis": redis, "store": store}

    async def _redis(self) -> None:
        await self._client.ledger.open()
        await self._client.ledger.overview.catalogue()

    async def _store(self) -> None:
        try:
            await self._client.store.head(PROBE)
        except ObjectMissing:
            return  # the store has answered


async def _tried(probe: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe
    except TimeoutError:
        return f"no answer within {PROBE_TIMEOUT_S:g} s"
    except SpeechFleetError as error:
        return error.message
    return OK
