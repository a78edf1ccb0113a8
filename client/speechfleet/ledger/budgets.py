"""What providers' accounts allow, kept for all workers together; and that a text is spoken once.

A budget belongs to one model of one provider or endpoint: requests a minute, units (characters
or tokens) a minute, calls at once. What is not set is found: see ``lua/budget.lua``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from speechfleet import keys
from speechfleet.keys import BudgetKeys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.lease import Lease
from speechfleet.settings import UNLIMITED

START = 300
"""Requests a minute with which the search for an unknown limit begins."""
AHEAD = 0.35
"""Seconds before their turn at which jobs are woken: they have to get through the queue."""
HELD = 0.25
"""Seconds that a call may wait for its turn where it is; for longer the job is parked."""
CLAIMED = 3600.0
"""Seconds after which nobody can still be speaking a segment that was never stored."""


@dataclass(frozen=True)
class Taken:
    """The answer to `Budgets.take`.

    ``go``: speak, after ``wait`` seconds. ``stored``: somebody just has. ``spoken``: another job
    does at this moment. ``wait``: the budget has no room now. ``begins``: when the wait is over,
    in seconds of the server's clock; ``doubted``: the last calls were refused, and whether this
    one goes `through` should be told.
    """

    outcome: Literal["go", "stored", "spoken", "wait"]
    wait: float = 0.0
    begins: float = 0.0
    doubted: bool = False


@dataclass(frozen=True)
class Budget:
    """What is known of one budget. ``rate``: requests a minute, 0 for any; ``found``: by asking,
    not from the settings; ``waiting``: parked jobs by lane; ``paused``: seconds still to go.
    """

    model: str
    rate: float
    found: bool
    refused: int
    paused: float
    waiting: dict[str, int]


@dataclass(frozen=True)
class Call:
    """A call that is asked for: the segment ``index`` of a job, costing so many units.

    ``begun``: the job has spoken before and need not stand in line; ``patience``: seconds that
    it may wait where it is; ``metered``: an unknown limit is searched from below; ``missing``:
    the store has nothing of it, whatever Redis says.
    """

    model: str
    lane: str
    hash: str
    index: int
    units: int
    begun: bool = False
    patience: float = HELD
    metered: bool = False
    missing: bool = False


class Budgets:
    """Budgets by model. Limits that are set come from the settings of whoever asks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts

    def limited(self, model: str, *, metered: bool) -> bool:
        """Whether a limit is set, or is to be searched for; else it shows by a refusal."""
        return metered or self._connection.settings.limits_of(model) is not UNLIMITED

    async def take(self, lease: Lease, call: Call) -> Taken:
        """Room for a call, and the claim on its segment, both or neither.

        The claim holds until the segment is recorded, released, or its worker is dead.
        """
        budget, namespace = BudgetKeys(call.model), lease.job.namespace
        speaking, uses = keys.speaking(namespace, call.hash), keys.uses(namespace, call.hash)
        missing = "1" if call.missing else "0"
        if not self.limited(call.model, metered=call.metered):
            reply = await self._scripts.run(
                "speak",
                (speaking, uses, keys.BEATS, budget.budget),
                lease.job.name,
                lease.token,
                call.index,
                missing,
                int(CLAIMED * 1000),
            )
            if reply != b"limited":
                return Taken(reply.decode())
        outcome, *when = await self._scripts.run(
            "take",
            (
                *_keys(budget),
                speaking,
                uses,
                keys.BEATS,
            ),
            *self._limits(call.model),
            lease.job.name,
            lease.token,
            call.index,
            call.lane,
            call.units,
            int(call.patience * 1000),
            "1" if call.begun else "0",
            START if call.metered else 0,
            int(CLAIMED * 1000),
            missing,
        )
        if not when:
            return Taken(outcome.decode())
        wait, begins, doubted = when
        return Taken("go", int(wait) / 1000, float(begins) / 1000, doubted == b"1")

    async def began(self, lease: Lease, hash: str) -> bool:
        """Whether an earlier execution of the same job began to speak a segment, and died (or
        lost the job) before it could record it.
        """
        claim = await self._scripts.call("GET", keys.speaking(lease.job.namespace, hash))
        name, token, _ = claim.decode().split(" ") if claim else ("", "", "")
        return bool(name == lease.job.name and token != lease.token)

    async def put_off(self, model: str, taken: Taken) -> float:
        """Seconds by which a pause, told since it was taken, puts off the call's beginning."""
        shut = await self._scripts.call("HGET", BudgetKeys(model).budget, "shut")
        return max(0.0, float(shut or 0) / 1000 - taken.begins)

    async def refused(self, model: str, retry_after: float | None, age: float = 0.0) -> None:
        """The provider said: too many. Everybody pauses and asks less.

        ``age``: seconds since the call was taken: what was under way when another was refused
        is no news.
        """
        pause = -1 if retry_after is None else int(retry_after * 1000)
        await self._scripts.run(
            "refused",
            _keys(BudgetKeys(model)),
            *self._limits(model),
            pause,
            START,
            int(age * 1000),
        )

    async def through(self, model: str, age: float) -> None:
        """A call that was doubted was not refused, ``age`` seconds after it was taken."""
        await self._scripts.run(
            "through", _keys(BudgetKeys(model)), *self._limits(model), int(age * 1000)
        )

    async def done(self, lease: Lease, call: Call) -> list[str]:
        """A call has ended; jobs that may come now, where the calls at once are limited."""
        if not self._connection.settings.limits_of(call.model).concurrent:
            return []
        budget = BudgetKeys(call.model)
        await self._scripts.call("ZREM", budget.calls, f"{lease.token}/{call.index}")
        return await self._refill(call.model)

    async def refill(self) -> list[str]:
        """Names of parked jobs, of whatever budget, that should come now."""
        names = await self._scripts.call("SMEMBERS", keys.BUDGETS)
        models = [keys.model_of_budget(name.decode()) for name in names]
        return [name for model in models for name in await self._refill(model)]

    async def _refill(self, model: str) -> list[str]:
        budget = BudgetKeys(model)
        names = await self._scripts.run(
            "refill",
            (*_keys(budget), keys.DELAYED, keys.BUDGETS, keys.BEATS),
            *self._limits(model),
            budget.name,
            int(AHEAD * 1000),
        )
        return [name.decode() for name in names]

    async def all(self) -> list[Budget]:
        """Those that have a limit, by model."""
        settings = self._connection.settings
        models = {model for model in settings.limits if "/" in model}
        cursor = b"0"
        while True:
            cursor, found = await self._scripts.call(
                "SCAN", cursor, "MATCH", keys.budgets(), "COUNT", 1000
            )
            models |= {keys.model_of_budget(key.decode()) for key in found}
            if int(cursor) == 0:
                break
        return list(await asyncio.gather(*map(self._one, sorted(models))))

    async def _one(self, model: str) -> Budget:
        budget = BudgetKeys(model)
        values, live, batch, (seconds, micros) = await asyncio.gather(
            self._scripts.call("HMGET", budget.budget, "rate", "refused", "paused"),
            self._scripts.call("ZCARD", budget.live),
            self._scripts.call("ZCARD", budget.batch),
            self._scripts.call("TIME"),
        )
        rate, refused, paused = (float(value or 0) for value in values)
        known = self._connection.settings.limits_of(model).requests
        return Budget(
            model=model,
            rate=min(rate or known, known or rate),
            found=bool(rate) and (not known or rate < known),
            refused=int(refused),
            paused=max(0.0, paused / 1000 - float(seconds) - float(micros) / 1e6),
            waiting={"live": int(live), "batch": int(batch)},
        )

    def _limits(self, model: str) -> tuple[int, int, int]:
        limits = self._connection.settings.limits_of(model)
        return limits.requests, limits.units, limits.concurrent


def _keys(budget: BudgetKeys) -> tuple[str, ...]:
    return budget.budget, budget.live, budget.batch, budget.woken, budget.calls
