"""Limits of calls at once that providers themselves name in their answers."""

from __future__ import annotations

import math
import time

from speechfleet.ledger.keys import RateLimitKeys
from speechfleet.ledger.scripts import Scripts

WRITTEN_FOR_S = 60.0
"""Seconds after which the same limit is written down again: it may have been reset."""


class ConcurrentLimits:
    """The models whose calls at once are limited, as far as this process knows."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._written: dict[str, tuple[int, float]] = {}

    def is_known(self, model: str) -> bool:
        """Tell whether calls to a model have to be given back at their end."""
        return model in self._written

    def note(self, model: str) -> None:
        """Note a model whose limit another process has written down."""
        self._written.setdefault(model, (0, -math.inf))

    async def report(self, model: str, calls: int) -> None:
        """Write down for all workers how many calls at once the provider says that it takes.

        Nothing is sent while this process has written down the same a short while ago.
        """
        known, at = self._written.get(model, (0, -math.inf))
        now = time.monotonic()
        if known == calls and now - at < WRITTEN_FOR_S:
            return
        self._written[model] = (calls, now)
        await self._scripts.call("HSET", RateLimitKeys(model).limit, "concurrent", calls)
