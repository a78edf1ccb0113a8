"""A limit that a wire server keeps and does not tell, as accounts have it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from speechfleet_worker.testing.wire import Fault


@dataclass
class Bucket:
    """``rate`` requests a second, and ``burst`` of them at once after a pause.

    Counts what it granted and refused; ``granted_at`` are `time.monotonic` seconds.
    """

    rate: float
    burst: float = 1.0
    refused_at: list[float] = field(default_factory=list)
    granted_at: list[float] = field(default_factory=list)
    _tokens: float = field(default=0.0, repr=False)
    _at: float = field(default=0.0, repr=False)

    def fault(self) -> Fault | None:
        """Return None for a request that is granted; else a 429 that says how long to wait."""
        now = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            self.granted_at.append(now)
            return None
        self.refused_at.append(now)
        wait = f"{(1.0 - self._tokens) / self.rate:.3f}"
        return Fault("status", 429, "rate_limit_exceeded", "too many requests", wait)
