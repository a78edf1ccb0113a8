"""Circuit breakers of providers, kept for all workers together.

A breaker only steers jobs that have a fallback voice: while it is open, they take that at once.
Jobs without one go on calling, and their failures and successes count as well. The states and
the ways between them are in ``lua/breaker/circuit_breaker.lua``; all times are the server's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from speechfleet.errors import ProviderError
from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.skip_on_error import skip_on_error


class BreakerState(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    """Every job calls the provider."""
    OPEN = "open"
    """No job with a fallback voice calls it until the pause is over."""
    HALF_OPEN = "half_open"
    """A single job calls it, as a probe; the others wait for its answer."""


@dataclass(frozen=True)
class Breaker:
    """A circuit breaker as it is now.

    ``failures``: in a row; ``code``: of the last one; ``probe_in``: seconds until a probe may
    call the provider.
    """

    provider: str
    state: BreakerState
    failures: int
    code: str
    probe_in: float


class CircuitBreakers:
    """The circuit breakers by provider; a provider without a failure has none in Redis."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts
        self._doubted: set[str] = set()

    def is_doubted(self, provider: str) -> bool:
        """Tell whether this process knows of a failure since the last success; nothing is asked.

        Only then a success is worth reporting.
        """
        return provider in self._doubted

    async def admit(self, provider: str, owner: str) -> bool:
        """Tell whether a job with a fallback voice should call the provider.

        True for one job, where the breaker is open and its pause is over: that is the probe.
        """
        state, may = await self._tell("admit", provider, owner)
        if may and state is not BreakerState.CLOSED:
            self._doubted.add(provider)
        return may

    async def report_failure(self, provider: str, owner: str, error: ProviderError) -> bool:
        """Count a failed call; return whether the breaker is open now.

        ``owner``: token of the run, as for `admit`. An error of the account opens it at once.
        """
        limit = 1 if error.of_account else self._connection.settings.breaker_failures
        self._doubted.add(provider)
        state, _ = await self._tell("failure", provider, owner, code=error.code, limit=limit)
        return state is not BreakerState.CLOSED

    async def report_success(self, provider: str, age: float) -> None:
        """Count a call that is answered with audio; it began ``age`` seconds ago."""
        self._doubted.discard(provider)
        await self._tell("success", provider, age=age)

    async def all(self) -> list[Breaker]:
        """Return the breakers of the providers that failed lately, by name."""
        names = await self._scripts.call("SMEMBERS", keys.BREAKERS)
        found = await asyncio.gather(*map(self._one, sorted(name.decode() for name in names)))
        return [breaker for breaker in found if breaker is not None]

    async def _one(self, provider: str) -> Breaker | None:
        values, now = await asyncio.gather(
            self._scripts.call(
                "HMGET", keys.breaker(provider), "state", "failures", "code", "next_at"
            ),
            self._scripts.time(),
        )
        state, failures, code, next_at = values
        if state is None:  # it is forgotten, or was closed meanwhile
            return None
        with skip_on_error(f"read the circuit breaker of {provider!r}"):
            wait = max(0.0, float(next_at or 0) / 1000 - now)
            return Breaker(
                provider, BreakerState(state.decode()), int(failures or 0),
                (code or b"").decode(), wait,
            )  # fmt: skip
        return None

    async def _tell(
        self,
        event: str,
        provider: str,
        owner: str = "",
        *,
        age: float = 0.0,
        code: str = "",
        limit: int = 1,
    ) -> tuple[BreakerState, bool]:
        pause = int(self._connection.settings.breaker_pause * 1000)
        reply: Any = await self._scripts.run(
            "circuit_breaker",
            (keys.breaker(provider), keys.BREAKERS),
            *(event, provider, owner, int(age * 1000), code, limit, pause),
        )
        state, may, _ = reply
        return BreakerState(state.decode()), may == b"1"
