"""Jobs by model, voice, lane, batch and time, page after page."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import pytest

from speechfleet import AsyncClient, InvalidRequest
from speechfleet.ledger import job_search, keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.lifecycle import State
from speechfleet.names import encode

JOBS = 300
BEGINNING = 1_700_000_000_000
TIMES = 40
"""So few that many jobs changed in the same millisecond."""


@dataclass(frozen=True, order=True)
class Written:
    """A job that was written; they sort by time, then by name, as the lists do."""

    at: int
    name: str
    id: str
    state: State
    model: str
    voice: str
    lane: str
    batch: str


@pytest.fixture
async def client(redis_url: str) -> AsyncGenerator[AsyncClient, None]:
    async with AsyncClient(redis_url=redis_url, namespace="search") as client:
        yield client


async def write(client: AsyncClient, job: Written) -> None:
    call = client.ledger.connection.scripts.call
    record = JobKeys(client.namespace, job.id).record
    fields = {
        "state": job.state, "model": job.model, "voice": job.voice, "batch": encode(job.batch),
        "lane": "" if job.lane == "live" else job.lane, "updated": str(job.at), "epoch": "1",
    }  # fmt: skip
    flat = [part for field in fields.items() if field[1] for part in field]
    await call("HSET", record, *flat)
    await call("ZADD", keys.index(client.namespace, job.state), job.at, job.name)


async def fill(client: AsyncClient) -> list[Written]:
    """Write records and indexes as scripts do; return the jobs in the order of a list."""
    rng = random.Random(7)
    jobs = []
    for number in range(JOBS):
        batch = rng.choice(["", "", "spring/ä", "spring"])
        # Ids of several lengths, with characters that sort differently in a locale than in bytes.
        id = (
            f"{batch}/{number}"
            if batch
            else rng.choice("aBÄ_-") + "x" * (number % 7) + str(number)
        )
        job = Written(
            BEGINNING + rng.randrange(TIMES), JobKeys(client.namespace, id).name, id,
            rng.choice(list(State)), rng.choice(["openai/tts-1", "openai/tts-1-hd", "espeak/x"]),
            rng.choice(["alloy", ""]), "batch" if batch else rng.choice(["live", "session"]),
            batch,
        )  # fmt: skip
        jobs.append(job)
    await asyncio.gather(*(write(client, job) for job in jobs))
    return sorted(jobs, key=lambda job: (job.at, job.name.encode()), reverse=True)


async def walk(client: AsyncClient, count: int, **wanted: object) -> list[str]:
    """The ids of all pages."""
    found, after = [], ""
    while True:
        page = await client.search_jobs(**wanted, after=after, count=count)  # type: ignore[arg-type]
        assert len(page.jobs) <= count
        found += [job.id for job in page.jobs]
        if not page.next:
            return found
        after = page.next


FILTERS: dict[str, tuple[dict[str, object], Callable[[Written], bool]]] = {
    "nothing": ({}, lambda _: True),
    "a state": ({"state": "failed"}, lambda job: job.state == "FAILED"),
    "two states": (
        {"state": ["failed", State.QUEUED]},
        lambda job: job.state in ("FAILED", "QUEUED"),
    ),
    "a model": ({"model": "openai/tts-1"}, lambda job: job.model == "openai/tts-1"),
    "a provider": ({"model": "openai"}, lambda job: job.model.startswith("openai/")),
    "a voice": ({"voice": "alloy"}, lambda job: job.voice == "alloy"),
    "the live lane": ({"lane": "live"}, lambda job: job.lane == "live"),
    "sessions": ({"lane": "session"}, lambda job: job.lane == "session"),
    "a batch": ({"batch": "spring"}, lambda job: job.batch == "spring"),
    "a batch with a slash": ({"batch": "spring/ä"}, lambda job: job.batch == "spring/ä"),
    "a time": (
        {"since": (BEGINNING + 10) / 1000, "until": (BEGINNING + 20) / 1000},
        lambda job: BEGINNING + 10 <= job.at <= BEGINNING + 20,
    ),
    "all at once": (
        {"state": "succeeded", "model": "openai", "lane": "batch", "since": BEGINNING / 1000},
        lambda job: job.state == "SUCCEEDED" and job.model[:6] == "openai" and bool(job.batch),
    ),
    "nobody": ({"voice": "nobody"}, lambda _: False),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_the_pages_hold_what_matches(client: AsyncClient, name: str) -> None:
    jobs = await fill(client)
    wanted, matches = FILTERS[name]
    expected = [job.id for job in jobs if matches(job)]
    for count in (17, 400):
        assert await walk(client, count, **wanted) == expected


async def test_a_cursor_stays_where_it_was_while_jobs_come_and_change(client: AsyncClient) -> None:
    jobs = await fill(client)
    first = await client.search_jobs(count=100)
    # The job at the cursor, one that was listed, and one that is still to come get a later time.
    changed = [jobs[99], jobs[10], jobs[150]]
    later, queued = BEGINNING + TIMES, State.QUEUED
    new = [
        Written(later, f"search/new-{n}", f"new-{n}", queued, "a/b", "", "live", "")
        for n in range(30)
    ]
    call = client.ledger.connection.scripts.call
    for job in changed:
        await call("ZADD", keys.index("search", job.state), later, job.name)
    for job in new:
        await write(client, job)
    rest = await client.search_jobs(count=JOBS, after=first.next)
    assert [job.id for job in rest.jobs] == [job.id for job in jobs[100:] if job not in changed]
    assert rest.next == ""


async def test_a_page_ends_after_a_bounded_look(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "JOBS_A_CALL", 20)
    monkeypatch.setattr(job_search, "JOBS_A_PAGE", 100)
    jobs = await fill(client)
    page = await client.search_jobs(voice="nobody")
    assert page.jobs == []
    assert page.next
    expected = [job.id for job in jobs if job.model == "espeak/x"]
    assert await walk(client, 200, model="espeak/x") == expected


async def test_a_batch_is_not_looked_for_before_its_beginning(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(client)
    monkeypatch.setattr(job_search, "JOBS_A_PAGE", 1)
    await client.ledger.batches.open(client.namespace, "late", window=10)
    page = await client.search_jobs(batch="late")
    assert (page.jobs, page.next) == ([], "")


@pytest.mark.parametrize(
    "wanted",
    [
        {"after": "?"},
        {"after": "bmFtZQ"},
        {"after": "bmFuIGE"},
        {"after": "MV8wIGE"},
        {"state": "lost"},
        {"lane": "x"},
    ],
    ids=["no base64", "no time", "time that is no number", "underscore", "state", "lane"],
)
async def test_what_cannot_be_meant_is_refused(
    client: AsyncClient, wanted: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequest):
        await client.search_jobs(**wanted)  # type: ignore[arg-type]
