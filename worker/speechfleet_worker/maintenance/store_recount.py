"""Measures what namespaces have in the store, where their quota limits it.

The scripts of jobs count audio objects as they are stored and deleted. Segments, timelines,
corpora and files are counted here, and so is whatever else went uncounted.
"""

from __future__ import annotations

import itertools
import time

from speechfleet.ledger.quotas import Quotas
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.store import Store, layout

INTERVAL_S = 60.0
"""Seconds between two measurements of a namespace, at least."""
SHARE = 0.02
"""The share of the time that measuring may take: listing a large store is slow, and costs."""
LEASE_S = 3600.0
"""Seconds after which a worker that measures counts as dead."""


class StoreRecount:
    """The measurements by one worker process. `look` as often as you like."""

    def __init__(self, quotas: Quotas, store: Store, boot: str) -> None:
        self._quotas = quotas
        self._store = store
        self._boot = boot
        self._numbers = itertools.count(1)

    async def look(self) -> None:
        """Measure the namespaces whose time has come."""
        for namespace in await self._quotas.storing():
            with skip_on_error(f"measure what namespace {namespace!r} has in the store"):
                await self.measure(namespace)

    async def measure(self, namespace: str) -> None:
        """Measure one namespace, unless it was measured a short while ago.

        What is stored or deleted meanwhile may count twice or not, until the next time. Raises
        StoreError.
        """
        token, began = f"{self._boot}:{next(self._numbers)}", time.monotonic()
        counted = await self._quotas.begin_recount(namespace, token, LEASE_S)
        if counted is None:
            return
        change, rest = 0, INTERVAL_S
        try:
            prefixes = layout.prefixes_of(namespace)
            change = sum([await self._store.measure(prefix) for prefix in prefixes]) - counted
            rest = max(INTERVAL_S, (time.monotonic() - began) / SHARE)
        finally:
            await self._quotas.end_recount(namespace, token, change, rest)
