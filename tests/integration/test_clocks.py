"""What depends on a clock goes by the server's, and survives a step of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from speechfleet.ledger import Lease, keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.rate_limits import Call
from speechfleet.lifecycle import State
from speechfleet.request import Request
from speechfleet.settings import Settings
from tests.support.virtual_time import set_clock, told_the_time

HOUR = 3600.0
START = 7200.0


@pytest.fixture(autouse=True)
def virtual_clock() -> Iterator[None]:
    with told_the_time():
        yield


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url, record_ttl=1800))
    await ledger.open()
    await set_clock(ledger.connection, START)
    yield ledger
    await ledger.close()


async def back_off(ledger: Ledger, delay: float) -> None:
    await ledger.jobs.submit("default", "a", Request("Text.", "voice/v"))
    lease = Lease(ledger.connection.scripts, JobKeys("default", "a"), "boot:1", "boot")
    await lease.claim()
    await lease.fail(
        "busy", "busy", retryable=True, max_attempts=3, delay=delay,
        account="default:m", of_account=False, usage={},
    )  # fmt: skip


async def test_a_job_that_backs_off_waits_no_longer_after_a_step_back(ledger: Ledger) -> None:
    await ledger.queues.send_due()
    await back_off(ledger, 5.0)
    await set_clock(ledger.connection, START - HOUR)
    assert await ledger.queues.send_due() == 0
    await set_clock(ledger.connection, START - HOUR + 5.0)
    assert await ledger.queues.send_due() == 1


async def test_a_small_correction_changes_nothing(ledger: Ledger) -> None:
    await ledger.queues.send_due()
    await back_off(ledger, 5.0)
    await set_clock(ledger.connection, START - 0.4)
    assert await ledger.queues.send_due() == 0
    await set_clock(ledger.connection, START + 4.9)
    assert await ledger.queues.send_due() == 0
    await set_clock(ledger.connection, START + 5.0)
    assert await ledger.queues.send_due() == 1


async def test_a_pause_of_a_model_lasts_no_longer_after_a_step_back(ledger: Ledger) -> None:
    limiter = ledger.rate_limiter
    lease = Lease(ledger.connection.scripts, JobKeys("default", "a"), "boot:1", "boot")
    call = Call("openai/tts", "live", "hash", 0, units=1, metered=True, patience=0.0)
    assert (await limiter.acquire(lease, call)).outcome == "granted"
    await limiter.report_refusal("openai/tts", retry_after=10.0)
    await set_clock(ledger.connection, START - HOUR)
    assert (await limiter.acquire(lease, call)).outcome == "no_room"
    await set_clock(ledger.connection, START - HOUR + 12.0)
    assert (await limiter.acquire(lease, call)).outcome == "granted"


async def test_a_record_that_is_there_stays_in_the_index(ledger: Ledger) -> None:
    """However long it is there by some clock or setting."""
    await ledger.jobs.submit("default", "a", Request("Text.", "voice/v"))
    await ledger.jobs.cancel("default", "a", "enough")
    await set_clock(ledger.connection, START + 10 * HOUR)
    await ledger.job_index.forget_expired()
    counts = await ledger.jobs.counts("default")
    assert counts[State.CANCELLED] == 1
    await ledger.connection.redis.delete(JobKeys("default", "a").record)
    await ledger.job_index.forget_expired()
    assert (await ledger.jobs.counts("default"))[State.CANCELLED] == 0


async def test_a_young_record_that_is_gone_is_looked_for_later(ledger: Ledger) -> None:
    """The index is looked at from its old end, not as a whole."""
    await ledger.jobs.submit("default", "a", Request("Text.", "voice/v"))
    await ledger.jobs.cancel("default", "a", "enough")
    await ledger.connection.redis.delete(JobKeys("default", "a").record)
    await ledger.job_index.forget_expired()
    assert await ledger.connection.redis.zcard(keys.index("default", State.CANCELLED)) == 1
