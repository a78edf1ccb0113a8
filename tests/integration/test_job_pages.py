"""Pages of jobs of several states, however far back they are."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator

import pytest

from speechfleet import AsyncClient
from speechfleet.ledger import keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.lifecycle import State

JOBS = 300
TIMES = 40
"""So few that many jobs changed in the same millisecond."""


@pytest.fixture
async def client(redis_url: str) -> AsyncGenerator[AsyncClient, None]:
    async with AsyncClient(redis_url=redis_url, namespace="pages") as client:
        yield client


async def fill(client: AsyncClient) -> list[str]:
    """Write records and indices as scripts do; the ids in the order of a list."""
    rng = random.Random(7)
    call = client.ledger.connection.scripts.call
    jobs = []
    for number in range(JOBS):
        state, at = rng.choice(list(State)), 1_700_000_000_000 + rng.randrange(TIMES)
        job = JobKeys(client.namespace, f"job {number}")
        fields = ("state", str(state), "model", "a/b", "updated", str(at), "epoch", "1")
        await call("HSET", job.record, *fields)
        await call("ZADD", keys.index(client.namespace, state), at, job.name)
        jobs.append((at, job.name, job.id))
    return [id for _, _, id in sorted(jobs, reverse=True)]


@pytest.mark.parametrize("count", [1, 7, 50, 400])
async def test_pages_are_the_list_in_parts(client: AsyncClient, count: int) -> None:
    ids = await fill(client)
    for offset in range(0, JOBS + count, max(count, 13)):
        page = await client.recent_jobs(offset=offset, count=count)
        assert [job.id for job in page] == ids[offset : offset + count]


async def test_no_more_records_are_read_than_a_page_has(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(client)
    read = []
    scripts = client.ledger.connection.scripts
    plain = scripts.call

    async def counted(*command: object) -> object:
        read.append(command[0])
        return await plain(*command)  # type: ignore[arg-type]

    monkeypatch.setattr(scripts, "call", counted)
    assert len(await client.recent_jobs(offset=200, count=20)) == 20
    assert read.count("HMGET") == 20
    assert len(read) < 20 + 5 * 12 + 20, "a bisection over 40 milliseconds, and no more"
    read.clear()
    assert await client.recent_jobs(offset=100_000, count=200) == []
    assert len(read) == len(State)
