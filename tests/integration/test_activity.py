"""The last hour of a namespace, counted by the scripts that publish and end jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from speechfleet import AsyncClient
from speechfleet.chunks import Finished, Started
from speechfleet.ledger import Lease, keys
from speechfleet.ledger.activity import BUCKET, MINUTES, Activity, Waits
from speechfleet.ledger.keys import JobKeys
from tests.support.usages import usage_of

MODEL = "espeak/espeak-ng"
STARTED = Started(1, "boot", MODEL, "", "audio/pcm;rate=8000", 8000)


@pytest.fixture
async def client(redis_url: str) -> AsyncGenerator[AsyncClient, None]:
    async with AsyncClient(redis_url=redis_url, namespace="of/late") as client:
        yield client


async def claimed(client: AsyncClient, id: str, **keywords: object) -> Lease:
    await client.submit("One. Two.", id=id, model=MODEL, **keywords)  # type: ignore[arg-type]
    scripts = client.ledger.connection.scripts
    lease = Lease(scripts, JobKeys(client.namespace, id), f"boot:{id}", "boot")
    await lease.claim()
    return lease


async def waited(client: AsyncClient, id: str, ms: int) -> None:
    """Let a job have been submitted so much earlier."""
    call, record = client.ledger.connection.scripts.call, JobKeys(client.namespace, id).record
    created = int(await call("HGET", record, "created"))
    await call("HSET", record, "created", created - ms)


async def publish(lease: Lease, size: int = 16_000) -> None:
    await lease.publish(0, bytes(size), started=STARTED, limit=1 << 20)


async def finish(lease: Lease) -> None:
    end = Finished(16_000, 1500, "audio/x", "audio/wav", "{}")
    assert await lease.finish(end, size=16_044, rate=8000)


def sums(activity: Activity) -> tuple[int, int, int, float]:
    minutes = activity.minutes
    return (
        sum(minute.succeeded for minute in minutes), sum(minute.failed for minute in minutes),
        sum(minute.cancelled for minute in minutes), sum(minute.seconds for minute in minutes),
    )  # fmt: skip


def first_audio(activity: Activity, lane: str) -> Waits:
    return Waits.together(m.first_audio[lane] for m in activity.minutes if lane in m.first_audio)


async def test_ends_and_first_audio_are_counted_once(client: AsyncClient) -> None:
    for number in range(3):
        lease = await claimed(client, f"spoken {number}")
        await waited(client, f"spoken {number}", 60_000)
        await publish(lease)
        await publish(lease)  # its answer was lost
        await finish(lease)
        await finish(lease)
    late = await claimed(client, "late", lane="batch")
    await waited(client, "late", 600_000)
    await publish(late)
    await late.fail(
        "rejected", "no", retryable=False, max_attempts=1, delay=0, account="of%2Flate:m",
        of_account=False, usage={"billed": 7},
    )  # fmt: skip
    await claimed(client, "stopped")
    await client.job("stopped").cancel()

    activity = await client.ledger.activities.of(client.namespace)
    assert len(activity.minutes) == MINUTES
    assert sums(activity) == (3, 1, 1, 4.5)
    live, batch = first_audio(activity, "live"), first_audio(activity, "batch")
    assert (live.count, batch.count) == (3, 1)
    assert 60 / BUCKET <= (live.quantile(0.5) or 0) <= 90 * BUCKET
    assert 600 / BUCKET <= (batch.quantile(0.95) or 0) <= 630 * BUCKET
    assert sums(await client.ledger.activities.of("others")) == (0, 0, 0, 0)


async def test_a_retry_is_no_long_wait(client: AsyncClient) -> None:
    await claimed(client, "again")
    await client.job("again").cancel()
    await client.job("again").retry()
    scripts = client.ledger.connection.scripts
    lease = Lease(scripts, JobKeys(client.namespace, "again"), "boot:2", "boot")
    await lease.claim()
    await waited(client, "again", 3_600_000)
    await publish(lease)
    assert first_audio(await client.ledger.activities.of(client.namespace), "live").count == 0


async def test_the_counts_expire(client: AsyncClient) -> None:
    await finish_one(client)
    call = client.ledger.connection.scripts.call
    minutes = await call("KEYS", f"{keys.minutes(client.namespace)}*")
    assert minutes
    for minute in minutes:
        assert 3600 < int(await call("TTL", minute)) <= 7200


async def finish_one(client: AsyncClient) -> None:
    lease = await claimed(client, "one")
    await publish(lease)
    await finish(lease)


async def test_the_oldest_queued_job_is_known(client: AsyncClient) -> None:
    assert (await client.ledger.activities.of(client.namespace)).oldest is None
    for id in ("first", "second"):
        await client.submit("Wait.", id=id, model=MODEL)
    name = JobKeys(client.namespace, "first").name
    index = keys.index(client.namespace, "QUEUED")
    await client.ledger.connection.scripts.call("ZINCRBY", index, -30_000, name)
    oldest = (await client.ledger.activities.of(client.namespace)).oldest
    assert oldest is not None
    assert 30 <= oldest < 60


async def test_usage_is_read_without_a_search_for_its_keys(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await claimed(client, "used")
    await lease.fail(
        "rejected", "no", retryable=False, max_attempts=1, delay=0, account="of%2Flate:a%2Fb",
        of_account=False, usage={"billed": 7},
    )  # fmt: skip
    scripts = client.ledger.connection.scripts
    plain = scripts.call

    async def counted(*command: object) -> object:
        assert command[0] not in ("SCAN", "KEYS")
        return await plain(*command)  # type: ignore[arg-type]

    monkeypatch.setattr(scripts, "call", counted)
    assert await usage_of(client.ledger.jobs, client.namespace) == {"a/b": {"billed": 7}}
