"""Workers, a provider and its limit on a clock of their own: minutes of it pass in a second.

The scripts and the server are the real ones; only the time is given to them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import pytest

from speechfleet.ledger import Connection, Lease, RateLimiter, keys, scripts
from speechfleet.ledger.keys import JobKeys, RateLimitKeys
from speechfleet.ledger.rate_limits import MAX_WAIT_S, Acquired, Call
from speechfleet.settings import Settings

MODEL = "openai/tts-1"
CLOCK = "virtual clock"
START = 1_800_000_000.0
TICK = 0.1
"""Seconds between two looks at the line, of two workers together."""
BACK_OFF = 1.0
LINE = 400
"""Jobs that want to be spoken at any time."""


@contextmanager
def told_the_time() -> Iterator[None]:
    """The scripts ask a key for the time, not the server."""
    source = scripts.source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            scripts,
            "source",
            lambda *of: source(*of).replace(
                "redis.call('TIME')", f"redis.call('HMGET', '{CLOCK}', 'seconds', 'micros')"
            ),
        )
        yield


async def set_clock(connection: Connection, now: float) -> None:
    """``now``: seconds since the beginning."""
    seconds, part = divmod(START + now, 1)
    micros = int(part * 1e6)
    await connection.scripts.call("HSET", CLOCK, "seconds", int(seconds), "micros", micros)


def call(connection: Connection, id: str, metered: bool = True) -> tuple[Lease, Call]:
    """Stand for the model that an execution of a batch asks for."""
    lease = Lease(connection.scripts, JobKeys("default", id), f"boot:{id}", "boot")
    return lease, Call(MODEL, "batch", id, 0, units=10, patience=MAX_WAIT_S, metered=metered)


class Limit(Protocol):
    """What the provider allows; ``at``: seconds since the beginning."""

    def grants(self, at: float) -> bool: ...

    def retry_after(self, at: float) -> float | None: ...


@dataclass
class Bucket:
    """``rate`` a second, ``burst`` of them at once; says how long to wait where it is to."""

    rate: float
    burst: float
    tells: bool = True
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def grants(self, at: float) -> bool:
        self._tokens = min(self.burst, self._tokens + (at - self._at) * self.rate)
        self._at = at
        granted = self._tokens >= 1.0
        self._tokens -= granted
        return granted

    def retry_after(self, at: float) -> float | None:
        return (1.0 - self._tokens) / self.rate if self.tells else None


@dataclass
class Window:
    """``quota`` calls in each ``length`` seconds, counted from the clock's ``offset``."""

    quota: int
    length: float = 60.0
    offset: float = 0.0
    tells: bool = False
    _number: int = -1
    _used: int = 0

    def grants(self, at: float) -> bool:
        number = int((at + self.offset) // self.length)
        if number != self._number:
            self._number, self._used = number, 0
        self._used += self._used < self.quota + 1
        return self._used <= self.quota

    def retry_after(self, at: float) -> float | None:
        return self.length - (at + self.offset) % self.length if self.tells else None


@dataclass
class Account:
    """A batch that never ends, spoken at ``limit`` by workers that are played here.

    ``granted`` and ``refused``: when, in seconds since the beginning. ``rates``: what the budget
    found, a second each.
    """

    connection: Connection
    limit: Limit
    metered: bool = True
    latency: float = 0.2
    granted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self._budgets = RateLimiter(self.connection)
        self._line = RateLimitKeys(MODEL).batch
        self._random = random.Random(1)
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []
        self._at(0.0, self._look)
        for _ in range(100):
            self._come()

    async def run(self, until: float) -> None:
        """Let it become this late."""
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            await asyncio.gather(
                set_clock(self.connection, self.now), do()
            )  # one after the other, in one go
        self.now = until

    def used(self, since: float, rate: float) -> float:
        """The part of what ``rate`` a second would have been since then."""
        return sum(at >= since for at in self.granted) / ((self.now - since) * rate)

    def refused_part(self, since: float = 0.0) -> float:
        granted = sum(at >= since for at in self.granted)
        refused = sum(at >= since for at in self.refused)
        return refused / max(1, granted + refused)

    # --- what happens

    def _at(self, delay: float, do: Callable[[], Awaitable[None]]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._numbers), do))

    async def _look(self) -> None:
        if int(self.now / TICK + 0.5) % 10 == 0:
            self.rates.append((await self._budgets.all())[0].rate / 60 if self.granted else 0.0)
            while await self.connection.redis.zcard(self._line) < LINE:
                await self._park(f"default/{next(self._numbers):09}")
        for name in await self._budgets.refill():
            self._come(name)
        self._at(TICK, self._look)

    def _come(self, name: str = "") -> None:
        name = name or f"default/{next(self._numbers):09}"
        self._at(self._random.uniform(0.01, 0.12), lambda: self._ask(name))

    async def _park(self, name: str) -> None:
        redis = self.connection.redis
        await redis.zadd(self._line, {name: int(name.partition("/")[2])})
        await redis.zadd(keys.DELAYED, {name: 1e15})
        await redis.sadd(keys.RATE_LIMITS, RateLimitKeys(MODEL).name)

    async def _ask(self, name: str) -> None:
        asked = call(self.connection, name.partition("/")[2], self.metered)
        taken = await self._budgets.acquire(*asked)
        if taken.outcome == "granted":
            self._at(taken.wait, partial(self._begin, name, taken, self.now))
        else:
            await self._park(name)

    async def _begin(self, name: str, taken: Acquired, since: float) -> None:
        late = await self._budgets.put_off(MODEL, taken) if taken.wait else 0.0
        if late > MAX_WAIT_S:
            await self._park(name)
        else:
            way = late + self._random.uniform(0.005, 0.03)
            self._at(way, lambda: self._call(name, taken, since))

    async def _call(self, name: str, taken: Acquired, since: float) -> None:
        if self.limit.grants(self.now):
            self.granted.append(self.now)
            if taken.doubted:
                self._at(
                    self.latency, lambda: self._budgets.report_success(MODEL, self.now - since)
                )
            return
        self.refused.append(self.now)
        wait = self.limit.retry_after(self.now)
        self._at(0.02, lambda: self._budgets.report_refusal(MODEL, wait, self.now - since))
        self._at(max(BACK_OFF, wait or 0.0), lambda: self._ask(name))


async def account(redis_url: str, limit: Limit, requests: int = 0, **how: object) -> Account:
    """Used within `told_the_time`; ``requests``: a minute, where the settings say so."""
    limits = {"openai": {"requests": requests}} if requests else {}
    connection = Connection(Settings.model_validate({"redis_url": redis_url, "limits": limits}))
    await connection.open()
    return Account(connection, limit, **how)  # type: ignore[arg-type]  # as the class has them
