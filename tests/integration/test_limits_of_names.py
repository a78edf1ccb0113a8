"""What is kept by names that anybody can make up is bounded, and goes again."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from speechfleet.context import Context
from speechfleet.errors import UnknownModel
from speechfleet.inspection import FleetInspector
from speechfleet.ledger import Lease, keys, overview
from speechfleet.ledger.keys import JobKeys, RateLimitKeys
from speechfleet.ledger.ledger import Ledger
from speechfleet.observability.metrics import ENDED, Tally, samples
from speechfleet.request import Request
from speechfleet.settings import Settings

MODEL = "openai/tts"


@pytest.fixture
async def context(redis_url: str) -> AsyncIterator[Context]:
    context = Context.of(Settings.load(redis_url=redis_url))
    await context.ledger.open()
    yield context
    await context.close()


@pytest.fixture
def ledger(context: Context) -> Ledger:
    return context.ledger


async def test_counts_of_too_many_models_are_counted_together(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MOST_COUNTS", 3)
    for _ in range(2):
        tally = Tally()
        for number in range(10):
            tally.add(ENDED, f"openai/{number}", "live", "SUCCEEDED")
        await ledger.overview.count(tally.take())
    found = {s.labels: s.value for s in samples(await ledger.overview.counts())}
    assert found[("other", "live", "SUCCEEDED")] == 14
    assert len(found) == 4
    assert sum(found.values()) == 20


async def test_usage_and_rate_limits_expire(ledger: Ledger) -> None:
    await ledger.jobs.submit("default", "a", Request("Text.", MODEL))
    lease = Lease(ledger.connection.scripts, JobKeys("default", "a"), "boot:1", "boot")
    await lease.claim()
    await lease.fail(
        "busy", "busy", retryable=False, max_attempts=3, delay=0.0,
        account="default:openai%2Ftts", of_account=False, usage={"calls": 1},
    )  # fmt: skip
    await ledger.rate_limiter.report_refusal(MODEL, 1.0)
    redis: Any = ledger.connection.redis
    found = [key.decode() for key in await redis.keys("speechfleet.1:*")]
    for kind in ("usage", "budget"):
        (key,) = [key for key in found if key.startswith(f"speechfleet.1:{kind}:")]
        assert await redis.ttl(key) > 0


@pytest.mark.parametrize("told", [31_536_000.0, math.inf, 1e300], ids=["a year", "inf", "1e300"])
async def test_no_provider_pauses_a_model_for_longer_than_is_set(
    ledger: Ledger, told: float
) -> None:
    await ledger.rate_limiter.report_refusal(MODEL, told)
    (limit,) = await ledger.rate_limiter.all()
    assert 590 < limit.paused <= 600


@pytest.mark.parametrize("told", [math.nan, -5.0], ids=["nan", "negative"])
async def test_a_retry_after_that_says_nothing_is_taken_for_none(
    ledger: Ledger, told: float
) -> None:
    await ledger.rate_limiter.report_refusal(MODEL, told)
    (limit,) = await ledger.rate_limiter.all()
    assert limit.paused < 5


async def test_limits_are_reset_for_one_model_or_for_all(ledger: Ledger) -> None:
    for model in ("openai/a", "openai/b", "openai/c"):
        await ledger.rate_limiter.report_refusal(model, 100.0)
    assert await ledger.rate_limiter.reset("openai/a") == ["openai/a"]
    assert await ledger.rate_limiter.reset("openai/a") == []
    assert not await ledger.connection.redis.exists(RateLimitKeys("openai/a").limit)
    assert await ledger.rate_limiter.reset() == ["openai/b", "openai/c"]
    assert await ledger.rate_limiter.all() == []


async def test_a_provider_that_was_served_once_is_taken(context: Context) -> None:
    inspector, request = FleetInspector(context), Request("Text.", "mine/voice")
    with pytest.raises(UnknownModel):
        await inspector.check_provider(request)
    await context.ledger.overview.offer("mine", [])
    await inspector.check_provider(request)
    assert await context.ledger.overview.offered() == {"mine"}


async def test_a_provider_that_was_served_long_ago_is_unknown(context: Context) -> None:
    await context.ledger.overview.offer("mine", [{"model": "mine/voice"}])
    await context.ledger.connection.redis.zadd(keys.OFFERED, {"mine": 1000})
    with pytest.raises(UnknownModel):
        await FleetInspector(context).check_provider(Request("Text.", "mine/voice"))


async def test_a_near_match_is_named(context: Context) -> None:
    await context.ledger.overview.offer("minerva", [])
    with pytest.raises(UnknownModel, match="minerva"):
        await FleetInspector(context).check_provider(Request("Text.", "minervs/voice"))


async def test_what_is_offered_is_kept_as_it_was(ledger: Ledger) -> None:
    await ledger.overview.offer("mine", [{"model": "mine/a"}])
    await ledger.overview.offer("mine", [])
    raw = await ledger.connection.scripts.call("HGET", keys.CATALOGUE, "mine")
    assert json.loads(raw) == [{"model": "mine/a"}]
