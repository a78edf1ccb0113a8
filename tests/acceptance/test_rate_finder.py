"""What an account's refusal holds up, and what it does not: real workers, wire servers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from speechfleet import AsyncClient, Msg, State
from speechfleet.embedded import EmbeddedFleet
from speechfleet.ledger import RateLimit, RateLimiter
from speechfleet.ledger.keys import RateLimitKeys
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault
from tests.support.stage import gather

ENDPOINTS = ("paused", "shut", "free")
WORKERS, SLOTS = 2, 2
"""And slots of each worker."""
PAUSED = 80
"""Jobs at an endpoint that refuses the 20th call."""


@dataclass
class Refusal:
    """Refuses these calls, counted from 1, with ``retry_after``; notes when each was begun, by the
    clock of the machine, which is the server's.
    """

    calls: range = range(0)
    retry_after: float = 0.0
    begun_at: list[float] = field(default_factory=list)

    def fault(self) -> Fault | None:
        self.begun_at.append(time.time())
        if len(self.begun_at) not in self.calls:
            return None
        return Fault("status", 429, "rate_limit_exceeded", retry_after=f"{self.retry_after:g}")


@dataclass
class Stage:
    """Two workers; the endpoints are told apart by nothing but their names."""

    fleet: EmbeddedFleet
    refusals: dict[str, Refusal]

    def client(self) -> AsyncClient:
        return AsyncClient(redis_url=self.fleet.redis_url, store=self.fleet.store_url)


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        refusals = {
            "paused": Refusal(range(20, 21), retry_after=3.0),
            "shut": Refusal(range(1, 1000), retry_after=500.0),
            "free": Refusal(),
        }
        endpoints = {}
        for name in ENDPOINTS:
            server = OpenAIServer(milliseconds=1, latency=0.05, limit=refusals[name])
            stack.enter_context(server.thread())
            endpoints[name] = {"base_url": server.base_url}
        environ = {
            "SPEECHFLEET_ENDPOINTS": json.dumps(endpoints),
            "SPEECHFLEET_LIMITS": json.dumps({name: {"requests": 1200} for name in ENDPOINTS}),
        }
        fleet = EmbeddedFleet(
            module_folder, workers=WORKERS, slots=SLOTS, environ=environ, grace=0.0
        )
        yield Stage(stack.enter_context(fleet), refusals)


def texts(name: str, count: int) -> list[Msg]:
    return [Msg("", f"Text {n} for {name}.", id=f"{name}-{n}") for n in range(count)]


async def by_model(budgets: RateLimiter) -> dict[str, RateLimit]:
    return {budget.model: budget for budget in await budgets.all()}


async def all_wait(client: AsyncClient, model: str, count: int) -> None:
    """Until so many jobs are held up, the refused ones for an attempt, the others in line.

    None runs then; one that was refused still does until that is written down. A job that was
    refused and then taken over, as its worker was silent for seconds, counts twice.
    """
    budgets = RateLimiter(client.ledger.connection)
    seen: tuple[RateLimit | None, dict[State, int]] = (None, {})
    try:
        async with asyncio.timeout(240):
            while True:
                budget, counts = (await by_model(budgets)).get(model), await client.counts()
                seen = budget, counts
                held = sum(budget.waiting.values()) + budget.refused if budget else 0
                if held >= counts[State.QUEUED] == count and not counts[State.RUNNING]:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not all of {count} wait: {seen}")


async def test_a_retry_after_told_to_one_worker_pauses_all(stage: Stage) -> None:
    refusal = stage.refusals["paused"]
    async with stage.client() as client:
        await client.submit_many(texts("paused", PAUSED), model="paused/tts", voice="alloy")
        jobs = [client.job(f"paused-{n}") for n in range(PAUSED)]
        await gather(*(job.result() for job in jobs))
        records = [await job.record() for job in jobs]
        limit = RateLimitKeys("paused/tts").limit
        refused = float(await client.ledger.connection.scripts.call("HGET", limit, "last_refusal"))
    told = refused / 1000
    asked = refusal.begun_at
    early = [at - told for at in asked if told < at < told + refusal.retry_after]
    assert len(early) <= WORKERS * SLOTS, "those that were on their way"
    assert asked[-1] >= told + refusal.retry_after
    assert len(asked) == PAUSED + 1
    claims = [
        token for record in records for _, event, token in record.history if event == "claim"
    ]
    assert len({token.rpartition(":")[0] for token in claims}) == 2, "both workers spoke"
    assert [record.attempts for record in records].count(1) == 1, "one was refused, once"


async def test_who_waits_for_a_budget_holds_neither_a_slot_nor_another_endpoint(
    stage: Stage,
) -> None:
    """Ten times as many as there are slots; the same adapter speaks for both endpoints."""
    count = 20 * SLOTS
    async with stage.client() as client:
        await client.submit_many(texts("shut", count), model="shut/tts", voice="alloy")
        await all_wait(client, "shut/tts", count)
        await client.submit_many(texts("free", 20), model="free/tts", voice="alloy")
        await gather(*(client.job(f"free-{n}").result() for n in range(20)))
        known = await by_model(RateLimiter(client.ledger.connection))
        await all_wait(client, "shut/tts", count)
    assert known["shut/tts"].refused >= 1
    assert known["shut/tts"].paused > 20, "the others were spoken meanwhile"
    assert known["free/tts"].refused == known["free/tts"].paused == 0
    assert not known["free/tts"].found
    assert len(stage.refusals["free"].begun_at) == 20
