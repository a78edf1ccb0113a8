"""Rate limits of providers' accounts, kept for all workers together; and single-flight: the same
text is synthesized once.

A rate limit belongs to one model of one provider or endpoint: requests a minute, units (characters
or tokens) a minute, calls at once. A limit that is not set is found by asking: see
``docs/concepts/rate-finder.md`` and ``lua/rate_limit/limit.lua``.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from enum import StrEnum

from speechfleet.ledger import keys
from speechfleet.ledger.concurrent_limits import ConcurrentLimits
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.keys import RateLimitKeys
from speechfleet.ledger.lease import Lease
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.settings import UNLIMITED

FIRST_RATE = 300
"""Requests a minute with which the search for an unknown limit begins."""
RESUME_AHEAD_S = 0.35
"""Seconds before their turn at which jobs are resumed: they have to get through the queue."""
MAX_WAIT_S = 0.25
"""Seconds that a call may wait for its turn where it is; for longer the job is suspended."""
CLAIM_LIFETIME_S = 3600.0
"""Seconds after which no worker can still be synthesizing a segment that was never stored."""


class AcquireOutcome(StrEnum):
    """The answer to a call that asks to begin."""

    GRANTED = "granted"
    STORED = "stored"
    """Another job has just stored the segment."""
    IN_FLIGHT = "in_flight"
    """Another job synthesizes the segment at this moment."""
    NO_ROOM = "no_room"
    """The rate limit has no room now."""


@dataclass(frozen=True)
class Acquired:
    """The answer to `RateLimiter.acquire`."""

    outcome: AcquireOutcome
    wait: float = 0.0
    """Seconds after which a granted call may begin."""
    begins: float = 0.0
    """End of the wait, in seconds of the server's clock."""
    doubted: bool = False
    """The last calls were refused: `RateLimiter.report_success` should be called."""


@dataclass(frozen=True)
class RateLimit:
    """A rate limit as it is known now."""

    model: str
    rate: float
    """Requests a minute; 0 for any number."""
    found: bool
    """Found by asking, not taken from the settings."""
    refused: int
    """Refusals of the provider, in all."""
    paused: float
    """Seconds for which no call begins."""
    waiting: dict[str, int]
    """Suspended jobs by lane."""
    concurrent: int = 0
    """Calls at once, as set or as the provider says; 0 for any number."""


@dataclass(frozen=True)
class Call:
    """A call that is asked for: the segment ``index`` of a job."""

    model: str
    lane: str
    hash: str
    index: int
    units: int
    """Units that it costs: characters or tokens."""
    begun: bool = False
    """The job has made calls before, and need not stand in line."""
    patience: float = MAX_WAIT_S
    """Seconds that it may wait where it is."""
    metered: bool = False
    """An account stands behind the model (`Capabilities.metered`): an unknown limit is searched
    for from the first call on. For any other model only a refusal begins the search."""
    missing: bool = False
    """The store has nothing of the segment, whatever Redis says."""


class RateLimiter:
    """The rate limits by model. Limits that are set come from the settings of each worker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts
        self.concurrent = ConcurrentLimits(connection.scripts)

    def limited(self, model: str, *, metered: bool) -> bool:
        """Tell whether a limit is set or searched for; else only a refusal shows one."""
        return metered or self._connection.settings.limits_of(model) is not UNLIMITED

    async def acquire(self, lease: Lease, call: Call) -> Acquired:
        """Book room for a call and claim its segment, both or neither.

        The claim holds until the segment is recorded, released, or its worker is dead.
        """
        limit, namespace = RateLimitKeys(call.model), lease.job.namespace
        speaking, uses = keys.speaking(namespace, call.hash), keys.uses(namespace, call.hash)
        begun = lease.job.begun
        missing = "1" if call.missing else "0"
        if not self.limited(call.model, metered=call.metered):
            reply = await self._scripts.run(
                "acquire_unlimited",
                (speaking, uses, begun, keys.HEARTBEATS, limit.limit),
                lease.job.name,
                lease.token,
                call.index,
                call.hash,
                missing,
                int(CLAIM_LIFETIME_S * 1000),
            )
            if reply != b"limited":
                return Acquired(AcquireOutcome(reply.decode()))
        outcome, *when = await self._scripts.run(
            "acquire",
            (
                *_keys(limit),
                speaking,
                uses,
                begun,
                keys.HEARTBEATS,
            ),
            *self._limits(call.model),
            lease.job.name,
            lease.token,
            call.index,
            call.hash,
            call.lane,
            call.units,
            int(call.patience * 1000),
            "1" if call.begun else "0",
            FIRST_RATE if call.metered else 0,
            int(CLAIM_LIFETIME_S * 1000),
            missing,
        )
        if not when:
            return Acquired(AcquireOutcome(outcome.decode()))
        wait, begins, doubted, counted = when
        if counted == b"1":
            self.concurrent.note(call.model)
        return Acquired(
            AcquireOutcome.GRANTED, int(wait) / 1000, float(begins) / 1000, doubted == b"1"
        )

    async def put_off(self, model: str, acquired: Acquired) -> float:
        """Return the seconds by which a pause that began since then puts off the call."""
        start_after = await self._scripts.call("HGET", RateLimitKeys(model).limit, "start_after")
        return max(0.0, float(start_after or 0) / 1000 - acquired.begins)

    async def pause(self, model: str) -> float:
        """Return the seconds for which no call to a model begins, since one was refused."""
        value, now = await asyncio.gather(
            self._scripts.call("HGET", RateLimitKeys(model).limit, "grant_after"),
            self._scripts.time(),
        )
        return max(0.0, float(value or 0) / 1000 - now)

    async def report_refusal(
        self, model: str, retry_after: float | None, age: float = 0.0
    ) -> None:
        """Record that the provider has refused a call. All workers pause and ask for less.

        ``age``: seconds since the call was granted: one that was under way when another was
        refused says nothing new. However long the provider asks to wait, the pause ends after
        ``retry_after_max``.
        """
        pause = -1
        if retry_after is not None and not math.isnan(retry_after):
            longest = self._connection.settings.retry_after_max
            pause = int(min(max(0.0, retry_after), longest) * 1000)
        await self._scripts.run(
            "report_refusal",
            _keys(RateLimitKeys(model)),
            *self._limits(model),
            pause,
            FIRST_RATE,
            int(age * 1000),
        )

    async def report_success(self, model: str, age: float) -> None:
        """Record that a doubted call was not refused, ``age`` seconds after it was granted."""
        await self._scripts.run(
            "report_success", _keys(RateLimitKeys(model)), *self._limits(model), int(age * 1000)
        )

    async def done(self, lease: Lease, call: Call) -> list[str]:
        """End a call; return the jobs that may come now, where the calls at once are limited."""
        is_set = bool(self._connection.settings.limits_of(call.model).concurrent)
        if not is_set and not self.concurrent.is_known(call.model):
            return []
        limit = RateLimitKeys(call.model)
        await self._scripts.call("ZREM", limit.calls, f"{lease.token}/{call.index}")
        return await self._refill(call.model)

    async def waited_for(self) -> bool:
        """Tell whether any job waits for room in a rate limit."""
        return bool(await self._scripts.call("SCARD", keys.RATE_LIMITS))

    async def refill(self) -> list[str]:
        """Return the names of suspended jobs that should come now, of all rate limits."""
        names = await self._scripts.call("SMEMBERS", keys.RATE_LIMITS)
        models = [keys.model_of_rate_limit(name.decode()) for name in names]
        resumed: list[str] = []
        for model in models:
            with skip_on_error(f"look for room in the rate limit of {model}"):
                resumed += await self._refill(model)
        return resumed

    async def reset(self, model: str | None = None) -> list[str]:
        """Forget what was found and the pauses, of one model or of all; return the models.

        Jobs that wait for the model go on waiting until workers resume them, which is at once.
        """
        found = [limit.model for limit in await self.all()] if model is None else [model]
        removed = await asyncio.gather(
            *(self._scripts.call("DEL", RateLimitKeys(name).limit) for name in found)
        )
        return [name for name, count in zip(found, removed, strict=True) if count]

    async def _refill(self, model: str) -> list[str]:
        limit = RateLimitKeys(model)
        names = await self._scripts.run(
            "refill",
            (*_keys(limit), keys.DELAYED, keys.RATE_LIMITS, keys.HEARTBEATS),
            *self._limits(model),
            limit.name,
            int(RESUME_AHEAD_S * 1000),
        )
        return [name.decode() for name in names]

    async def all(self) -> list[RateLimit]:
        """Return the rate limits that are set or found, by model."""
        settings = self._connection.settings
        models = {model for model in settings.limits if "/" in model}
        cursor = b"0"
        while True:
            cursor, found = await self._scripts.call(
                "SCAN", cursor, "MATCH", keys.rate_limits(), "COUNT", 1000
            )
            models |= {keys.model_of_rate_limit(key.decode()) for key in found}
            if int(cursor) == 0:
                break
        return list(await asyncio.gather(*map(self.of, sorted(models))))

    async def of(self, model: str) -> RateLimit:
        """Return the rate limit of one model as it is known now."""
        limit = RateLimitKeys(model)
        values, live, batch, now = await asyncio.gather(
            self._scripts.call(
                "HMGET", limit.limit, "rate", "refusals", "grant_after", "concurrent"
            ),
            self._scripts.call("ZCARD", limit.live),
            self._scripts.call("ZCARD", limit.batch),
            self._scripts.time(),
        )
        rate, refused, paused, concurrent = (float(value or 0) for value in values)
        settings = self._connection.settings.limits_of(model)
        known, at_once = settings.requests, settings.concurrent
        return RateLimit(
            model=model,
            rate=min(rate or known, known or rate),
            found=bool(rate) and (not known or rate < known),
            refused=int(refused),
            paused=max(0.0, paused / 1000 - now),
            waiting={"live": int(live), "batch": int(batch)},
            concurrent=int(min(concurrent or at_once, at_once or concurrent)),
        )

    def _limits(self, model: str) -> tuple[int, int, int]:
        limits = self._connection.settings.limits_of(model)
        return limits.requests, limits.units, limits.concurrent


def _keys(limit: RateLimitKeys) -> tuple[str, ...]:
    lines = (limit.live, limit.batch)
    return limit.limit, *lines, limit.resumed, limit.calls, limit.live_tags, limit.batch_tags
