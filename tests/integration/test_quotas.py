"""Quotas of namespaces: what is refused, with which words, and when there is room again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechfleet.batch.pricing import unit_prices
from speechfleet.errors import MisconfiguredError
from speechfleet.ledger import Lease, keys, tenant_keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.ledger import Ledger
from speechfleet.quotas import NamespaceQuotaExceeded, Quota, day_number, month_number, resets_at
from speechfleet.record import StoredSegment
from speechfleet.request import Request
from speechfleet.settings import Price, Settings
from tests.support.virtual_time import START, set_clock, told_the_time

NAMESPACE, MODEL = "a tenant", "openai/tts-1"
ACCOUNT = "a%20tenant:openai%2Ftts-1"
FAR_S = 1e9


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield ledger
    await ledger.close()


async def limit(ledger: Ledger, **limits: float) -> None:
    prices = unit_prices(ledger.connection.settings)
    await ledger.quotas.set(NAMESPACE, Quota.model_validate(limits), prices)


async def submit(ledger: Ledger, id: str, text: str = "x" * 10, model: str = MODEL) -> None:
    await ledger.jobs.submit(NAMESPACE, id, Request(text, model))


async def test_many_submits_at_once_take_what_there_is_and_no_more(ledger: Ledger) -> None:
    await limit(ledger, characters_day=455)
    requests = [(f"job {number}", Request("x" * 10, MODEL)) for number in range(60)]
    halves = requests[::2], requests[1::2]
    outcomes = await asyncio.gather(*(ledger.jobs.submit_each(NAMESPACE, half) for half in halves))
    refused = [o for half in outcomes for o in half if isinstance(o, NamespaceQuotaExceeded)]
    assert len(refused) == 15
    status = await ledger.quotas.status(NAMESPACE)
    assert status is not None
    assert status.reserved["characters_day"] == 450


async def test_a_refusal_names_the_limit_and_when_it_begins_anew(ledger: Ledger) -> None:
    await limit(ledger, characters_day=15)
    await submit(ledger, "first")
    with pytest.raises(NamespaceQuotaExceeded, match=r"15 characters a day.* UTC") as refused:
        await submit(ledger, "second")
    assert (refused.value.code, refused.value.limit) == ("quota_exceeded", "characters_day")
    assert refused.value.retryable
    assert 0 < (refused.value.retry_after or 0) <= 86_400
    with pytest.raises(NamespaceQuotaExceeded, match="larger quota") as never:
        await submit(ledger, "third", "x" * 16)
    assert not never.value.retryable


@pytest.fixture
def virtual_clock() -> Iterator[None]:
    with told_the_time():
        yield


@pytest.mark.usefixtures("virtual_clock")
async def test_a_new_day_begins_with_nothing_used(ledger: Ledger) -> None:
    """The clock stands still, so that no other midnight comes; after that of the machine."""
    await set_clock(ledger.connection, FAR_S)
    await limit(ledger, characters_day=15, characters_month=100)
    time = int(START + FAR_S)
    sums: dict[Any, int] = {
        "day": day_number(time) - 1,
        "characters_day": 15,
        "month": month_number(time),
    }
    await ledger.connection.redis.hset(tenant_keys.quota_sums(NAMESPACE), mapping=sums)
    await submit(ledger, "today")
    lease = Lease(ledger.connection.scripts, JobKeys(NAMESPACE, "today"), "b:1", "b")
    await lease.claim()
    usage = {"billed": 10}
    await lease.segment(
        RecordedSegment(StoredSegment(0, 0, 0, 0, 10, "h"), 8000, 1, ACCOUNT, usage)
    )
    status = await ledger.quotas.status(NAMESPACE)
    assert status is not None
    assert (status.used["characters_day"], status.used["characters_month"]) == (10, 10)


async def test_a_worker_that_was_accepted_writes_its_lost_job_again(ledger: Ledger) -> None:
    """What the server forgot was accepted once, whatever the quota says now."""
    await limit(ledger, characters_day=0)
    request = Request("x" * 10, MODEL)
    assert (await ledger.jobs.submit(NAMESPACE, "lost", request, "claimed")).new
    status = await ledger.quotas.status(NAMESPACE)
    assert status is not None
    assert status.reserved["characters_day"] == 10


async def test_money_needs_a_price(ledger: Ledger) -> None:
    await limit(ledger, money_day=1)
    await submit(ledger, "free", model="espeak/espeak-ng")
    with pytest.raises(MisconfiguredError, match="no price is known for mine/voice"):
        await submit(ledger, "unpriced", model="mine/voice")
    settings = Settings.load(redis_url="redis://x", prices={"mine": Price(per_million=1.0)})
    await ledger.quotas.follow_setting(None, unit_prices(settings))
    await submit(ledger, "priced", model="mine/voice")


async def test_a_namespace_without_a_quota_leaves_no_key(ledger: Ledger) -> None:
    await ledger.quotas.set("another", Quota(queued=0), {"espeak": 0})
    await submit(ledger, "free")
    assert await ledger.jobs.cancel(NAMESPACE, "free", "enough")
    assert await ledger.quotas.status(NAMESPACE) is None
    assert await ledger.connection.redis.keys(f"{keys.PREFIX}:quota-*") == []
    assert await ledger.connection.redis.hexists(JobKeys(NAMESPACE, "free").record, "quota") == 0


async def test_the_default_is_for_those_without_limits_of_their_own(ledger: Ledger) -> None:
    await ledger.quotas.set("*", Quota(queued=0), {"espeak": 0})
    with pytest.raises(NamespaceQuotaExceeded):
        await submit(ledger, "one")
    await limit(ledger, queued=1)
    await submit(ledger, "one")
    assert await ledger.quotas.remove(NAMESPACE)
    with pytest.raises(NamespaceQuotaExceeded):
        await submit(ledger, "two")


async def test_a_setting_takes_back_what_it_no_longer_names(ledger: Ledger) -> None:
    prices = {"espeak": 0}
    await limit(ledger, queued=1)
    await ledger.quotas.follow_setting({"a": Quota(queued=1), "b": Quota(queued=2)}, prices)
    await ledger.quotas.follow_setting(None, prices)
    assert set(await ledger.quotas.all()) == {"a", "b", NAMESPACE}
    await ledger.quotas.follow_setting({"b": Quota(streams=3)}, prices)
    assert await ledger.quotas.all() == {NAMESPACE: Quota(queued=1), "b": Quota(streams=3)}


def test_scripts_number_months_as_python_does(redis_url: str) -> None:
    async def months(times: list[int]) -> list[int]:
        ledger = Ledger(Settings.load(redis_url=redis_url))
        await ledger.open()
        lua = resources.files("speechfleet.ledger").joinpath("lua/include/quotas.lua")
        script = f"{lua.read_text('utf-8')}\nreturn quotas().month_of(tonumber(ARGV[1]))"
        found = [await ledger.connection.redis.eval(script, 0, str(time)) for time in times]
        await ledger.close()
        return [int(number) for number in found]

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(0, 7_258_118_400), min_size=20, max_size=20))
    def prove(times: list[int]) -> None:
        assert asyncio.run(months([time * 1000 for time in times])) == [
            month_number(time) for time in times
        ]

    prove()


def test_a_limit_begins_anew_at_midnight_or_with_the_month() -> None:
    time = datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp()
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    assert resets_at("money_day", time) == resets_at("characters_month", time) == new_year
    assert resets_at("streams", time) is None


def test_large_numbers_are_written_out() -> None:
    refused = NamespaceQuotaExceeded.of("a", "characters_month", 12_345_678, 12_345_670, 9, 0.0)
    assert "12,345,678 characters a month, of which 12,345,670 are taken" in refused.message
