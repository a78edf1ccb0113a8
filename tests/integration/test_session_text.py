"""Pushes against a real server: in whatever order they come, the text is what was written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechfleet.errors import JobNotFound, TextComplete, TextDiverged
from speechfleet.ledger import Claim, Connection, Jobs, Lease, LeaseLost, Workers
from speechfleet.ledger.keys import JobKeys, worker
from speechfleet.ledger.message import NUDGE
from speechfleet.lifecycle import State
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings

OPEN = Request("", "espeak/espeak-ng", lane=Lane.SESSION, open=True)
ID = ("default", "talk")
ROUTE = worker("boot")
TEXT = st.text("ab é漢😀.", min_size=1, max_size=40)


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[Connection]:
    connection = Connection(Settings.load(redis_url=redis_url))
    await connection.open()
    yield connection
    await connection.close()


@pytest.fixture
def jobs(connection: Connection) -> Jobs:
    return Jobs(connection)


async def held(connection: Connection) -> tuple[Lease, Claim]:
    lease = Lease(connection.scripts, JobKeys(*ID), "boot:1", "boot")
    return lease, await lease.claim()


async def text_of(jobs: Jobs) -> str:
    return (await jobs.load(*ID)).request.text


async def nudges(connection: Connection) -> int:
    return int(await connection.redis.llen(ROUTE))


@given(
    text=TEXT,
    pushes=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_late_doubled_and_reordered_pushes_do_no_harm(
    redis_url: str, text: str, pushes: list[tuple[int, int]]
) -> None:
    """Each push claims some prefix to be known; the longest says what the text is."""

    async def run() -> None:
        connection = Connection(Settings.load(redis_url=redis_url))
        try:
            await connection.redis.flushall()
            jobs = Jobs(connection)
            await jobs.submit(*ID, OPEN)
            lease, _ = await held(connection)
            longest, read = "", ""
            for end, known in [*pushes, (len(text), 0)]:
                upto = text[:end]
                await jobs.push(*ID, upto, min(known, len(upto)))
                longest = max(longest, upto, key=len)
                assert await text_of(jobs) == longest
                written = await lease.read(len(read.encode()))
                read += written.tail
                assert read == longest
                assert written.open
            assert read == text
        finally:
            await connection.close()

    asyncio.run(run())


@given(
    held_text=TEXT, position=st.integers(0, 39), other=st.sampled_from("xyz"), known=st.integers(0)
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_text_that_diverged_is_refused_and_told_where(
    redis_url: str, held_text: str, position: int, other: str, known: int
) -> None:
    async def run() -> None:
        connection = Connection(Settings.load(redis_url=redis_url))
        try:
            await connection.redis.flushall()
            jobs = Jobs(connection)
            await jobs.submit(*ID, OPEN)
            await jobs.push(*ID, held_text)
            at = position % len(held_text)
            text = held_text[:at] + other + held_text[at + 1 :] + "more"
            with pytest.raises(TextDiverged) as caught:
                await jobs.push(*ID, text, known % len(held_text))
            assert caught.value.position == at
            assert await text_of(jobs) == held_text
        finally:
            await connection.close()

    asyncio.run(run())


async def test_many_pushes_leave_one_nudge_until_the_worker_reads(
    connection: Connection, jobs: Jobs
) -> None:
    await jobs.submit(*ID, OPEN)
    await jobs.push(*ID, "before ")
    assert await nudges(connection) == 0, "nobody holds it yet"
    lease, claim = await held(connection)
    assert claim.record is not None
    assert claim.record.request.text == "before "
    assert (await jobs.load(*ID)).route == ROUTE
    text = "before "
    for word in ("one ", "two ", "three "):
        await jobs.push(*ID, text := text + word, len(text))
    assert await nudges(connection) == 1
    message = json.loads(await connection.redis.lindex(ROUTE, 0) or "")
    assert message["headers"]["task"] == NUDGE
    assert (await lease.read(len("before "))).tail == "one two three "
    await jobs.push(*ID, text, len(text))
    assert await nudges(connection) == 1, "nothing new, no nudge"
    await jobs.push(*ID, text + "four", len(text))
    assert await nudges(connection) == 2


async def test_a_worker_gets_one_nudge_for_all_its_sessions(
    connection: Connection, jobs: Jobs
) -> None:
    """The others are asked for; a nudge that was lost is found likewise."""
    ids = [("default", name) for name in ("one", "two", "three")]
    for id in ids:
        await jobs.submit(*id, OPEN)
        await Lease(connection.scripts, JobKeys(*id), f"boot:{id}", "boot").claim()
    for id in ids:
        await jobs.push(*id, "Some text.")
    assert await nudges(connection) == 1
    fleet = Workers(connection)
    assert sorted(await fleet.nudged("boot")) == sorted(JobKeys(*id).name for id in ids)
    assert await fleet.nudged("boot") == []
    await jobs.push(*ids[1], "Some text. More.")
    assert await nudges(connection) == 2
    assert await fleet.nudged("boot") == [JobKeys(*ids[1]).name]


@given(steps=st.lists(st.sampled_from([0, 1, 2, "take", "ask", "read"]), max_size=40))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_nudge_is_missed(redis_url: str, steps: list[int | str]) -> None:
    """However pushes to three sessions and the steps of their worker fall together: it takes a
    nudge, asks for the other sessions, and reads them. Without its looks now and then."""

    async def run() -> None:
        connection = Connection(Settings.load(redis_url=redis_url))
        try:
            await connection.redis.flushall()
            jobs, fleet = Jobs(connection), Workers(connection)
            ids = [("default", str(n)) for n in range(3)]
            leases, pushed, read = {}, [""] * 3, [""] * 3
            for n, id in enumerate(ids):
                await jobs.submit(*id, OPEN)
                job = JobKeys(*id)
                leases[job.name] = n, Lease(connection.scripts, job, f"boot:{n}", "boot")
                await leases[job.name][1].claim()
            to_read: list[str] = []
            told = False
            # At the end the worker does all that it knows of.
            for step in [*steps, *["take", "ask", "read", "read", "read"] * (len(steps) + 1)]:
                if isinstance(step, int):
                    pushed[step] += "more "
                    await jobs.push(*ids[step], pushed[step])
                elif step == "take" and (message := await connection.redis.rpop(ROUTE)):
                    assert isinstance(message, bytes)
                    to_read.append(json.loads(message)["headers"]["argsrepr"])
                    told = True
                elif step == "ask" and told:
                    told = False
                    to_read += await fleet.nudged("boot")
                elif step == "read" and to_read:
                    n, lease = leases[to_read.pop(0)]
                    read[n] += (await lease.read(len(read[n]))).tail
            assert read == pushed
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.mark.parametrize("left", ["cancelled", "recovered"])
async def test_a_session_that_left_with_unread_text_keeps_no_nudge_from_others(
    connection: Connection, jobs: Jobs, left: str
) -> None:
    await jobs.submit(*ID, OPEN)
    lease, _ = await held(connection)
    await jobs.push(*ID, "Never read.", 0)
    workers = Workers(connection)
    if left == "cancelled":
        await jobs.cancel(*ID, "its client is gone")
    else:
        assert await workers.recover_job(lease.job.name, "boot", "it died") == "queued"
    assert await workers.nudged("boot") == []


async def test_completing_closes_the_text(connection: Connection, jobs: Jobs) -> None:
    await jobs.submit(*ID, OPEN)
    lease, _ = await held(connection)
    assert await jobs.push(*ID, "All.", complete=True) is State.RUNNING
    assert await nudges(connection) == 1
    assert (await lease.read(0)).open is False
    await jobs.push(*ID, "Al")
    await jobs.push(*ID, "All.", complete=True)
    with pytest.raises(TextComplete):
        await jobs.push(*ID, "All. But")
    assert await text_of(jobs) == "All."


async def test_a_server_that_lost_text_is_given_all_of_it(
    connection: Connection, jobs: Jobs
) -> None:
    await jobs.submit(*ID, OPEN)
    await jobs.push(*ID, "One. Two.")
    await connection.redis.hset(JobKeys(*ID).record, "text", "One.")
    await jobs.push(*ID, "One. Two. Three.", len("One. Two."))
    assert await text_of(jobs) == "One. Two. Three."
    await connection.redis.flushall()
    with pytest.raises(JobNotFound):
        await jobs.push(*ID, "One. Two. Three. Four.", 4)


async def test_only_the_owner_reads_and_a_requeue_unpins(
    connection: Connection, jobs: Jobs
) -> None:
    await jobs.submit(*ID, OPEN)
    lease, _ = await held(connection)
    await lease.hand_over("its worker drains")
    record = await jobs.load(*ID)
    assert (record.route, record.state) == ("", State.QUEUED)
    with pytest.raises(LeaseLost):
        await lease.read(0)
    await jobs.push(*ID, "In between.")
    assert await nudges(connection) == 0
    other = Lease(connection.scripts, JobKeys(*ID), "other:1", "other")
    await other.claim()
    assert (await other.read(0)).tail == "In between."


async def test_the_same_session_is_the_same_whatever_its_text(jobs: Jobs) -> None:
    first = await jobs.submit(*ID, OPEN)
    await jobs.push(*ID, "Some text.")
    again = await jobs.submit(*ID, OPEN)
    assert (first.new, again.new) == (True, False)


async def test_a_retry_speaks_the_text_there_is(connection: Connection, jobs: Jobs) -> None:
    await jobs.submit(*ID, OPEN)
    await jobs.push(*ID, "Some text.")
    await jobs.cancel(*ID, "enough", 4)
    assert (await jobs.load(*ID)).fields["text_end"] == "4"
    await jobs.retry(*ID)
    record = await jobs.load(*ID)
    assert record.request.text == "Some text."
    assert record.request.open is False
