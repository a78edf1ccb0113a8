"""Batches on a real server: counted once, read back in order, stopped, resumed, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechfleet.errors import BatchNotFound, BatchStopped, Conflict, JobNotFound
from speechfleet.ledger import (
    BatchState,
    Connection,
    Lease,
    LeaseLost,
    Result,
    WindowFull,
)
from speechfleet.ledger.batches import item_id
from speechfleet.ledger.keys import JobKeys
from speechfleet.lifecycle import State
from speechfleet.settings import Settings
from tests.support.spoken_batch import BATCH, END, NAMESPACE, Spoken


async def test_how_each_item_ended_is_counted_and_told(spoken: Spoken) -> None:
    await spoken.open(corpus="lines.csv")
    await spoken.submit("a", "b", "c", "d")
    await spoken.submit("a")  # again: the same job
    for item, end in (("b", "finish"), ("a", "fail"), ("c", "cancel")):
        await spoken.speak(item, end)  # type: ignore[arg-type]  # of the pairs above
    first, second, third = await spoken.results()
    assert (first.item, first.state, first.object) == ("b", State.SUCCEEDED, END.object)
    assert (first.bytes, first.duration, first.sample_rate) == (140, 0.001, 24_000)
    assert first.usage == {"characters": 6, "billed": 6, "calls": 1, "seconds": 0.5}
    assert (second.item, second.state, second.code) == ("a", State.FAILED, "rejected")
    assert (third.item, third.withdrawn) == ("c", True)
    status = await spoken.batches.get(NAMESPACE, BATCH)
    assert (status.submitted, status.outstanding, status.unread) == (4, 1, 3)
    assert (status.succeeded, status.failed, status.cancelled) == (1, 1, 1)
    assert status.usage == first.usage
    assert status.about == {"corpus": "lines.csv"}
    assert [found.id for found in await spoken.batches.list(NAMESPACE)] == [BATCH]


async def test_nothing_of_a_folded_item_is_left_in_redis(spoken: Spoken) -> None:
    await spoken.open()
    await spoken.submit("seed")
    await spoken.speak("seed", "fail")
    await spoken.acknowledge(await spoken.results())
    before = await spoken.keys()
    await spoken.submit("a", "b")
    await spoken.speak("a")
    await spoken.speak("b", "cancel")
    results = await spoken.results()
    await spoken.acknowledge(results)
    await spoken.acknowledge(results)  # read again after a crash
    left = {key for key in await spoken.keys() - before if b":usage:" not in key}
    noted = {key for key in left if b":recorded:" in key}
    assert left - noted <= {b"speechfleet.1:beats", b"speechfleet.1:index:a%20tenant:QUEUED"}
    assert [0 < await spoken.connection.scripts.call("TTL", key) <= 600 for key in noted] == [True]
    with pytest.raises(JobNotFound):
        await spoken.jobs.load(NAMESPACE, item_id(BATCH, "a"))
    status = await spoken.batches.get(NAMESPACE, BATCH)
    assert (status.submitted, status.succeeded, status.failed) == (2, 1, 1)
    assert (status.cancelled, status.unread, status.outstanding) == (0, 0, 0)


async def test_the_window_counts_what_is_not_read_back(spoken: Spoken) -> None:
    await spoken.open(window=2)
    await spoken.submit("a", "b")
    with pytest.raises(WindowFull):
        await spoken.submit("c")
    await spoken.speak("a")
    with pytest.raises(WindowFull):
        await spoken.submit("c")
    await spoken.submit("b")  # is there already: no room is needed
    await spoken.acknowledge(await spoken.results())
    await spoken.submit("c")


async def test_an_error_of_the_account_stops_the_batch_and_fails_nothing(spoken: Spoken) -> None:
    await spoken.open()
    await spoken.submit("a", "b", "c")
    (running, _), fault = await spoken.claim("b"), {"code": "quota_exceeded", "of_account": True}
    assert await spoken.speak("a", "fail", **fault) == "withdrawn"
    _, claim = await spoken.claim("c")
    assert (claim.outcome, claim.reason) == ("refused", "its batch is stopped")
    with pytest.raises(BatchStopped, match="no") as stopped:
        await spoken.submit("d")
    assert stopped.value.code == "quota_exceeded"
    assert await running.finish(END, size=1, rate=8000) is False, "it goes on: audio is missing"
    status = await spoken.batches.get(NAMESPACE, BATCH)
    assert (status.state, status.code) == (BatchState.STOPPED, "quota_exceeded")
    assert (status.failed, status.cancelled, status.outstanding) == (0, 2, 1)
    results = await spoken.results()
    assert {result.code for result in results} == {"quota_exceeded"}
    await spoken.acknowledge(results)
    await spoken.open()
    await spoken.submit("a", "c")
    status = await spoken.batches.get(NAMESPACE, BATCH)
    assert (status.state, status.code, status.outstanding) == (BatchState.OPEN, "", 3)


async def test_what_waits_for_a_stopped_batch_comes_back_at_once(spoken: Spoken) -> None:
    """Nobody's turn comes where the budget of the account is what is missing."""
    await spoken.open()
    await spoken.submit("a", "b", "c")
    lease, _ = await spoken.claim("b")
    await spoken.batches.stop(NAMESPACE, BATCH, "quota_exceeded", "no credit")
    assert await spoken.batches.withdraw(NAMESPACE, BATCH) == 2
    assert {(each.item, each.withdrawn) for each in await spoken.results()} == {
        ("a", True),
        ("c", True),
    }
    assert await spoken.batches.withdraw(NAMESPACE, BATCH) == 0
    assert (await spoken.batches.get(NAMESPACE, BATCH)).code == "quota_exceeded"
    assert (await lease.claim()).outcome == "granted", "what runs goes on"


async def test_a_batch_is_cancelled_whatever_its_items_do(spoken: Spoken) -> None:
    await spoken.open(window=1000)
    await spoken.submit(*(str(n) for n in range(450)))
    lease, _ = await spoken.claim("7")
    await spoken.speak("8")
    assert await spoken.batches.cancel(NAMESPACE, BATCH, "too dear") == 449
    with pytest.raises(LeaseLost):
        await lease.finish(END, size=1, rate=8000)
    status = await spoken.batches.get(NAMESPACE, BATCH)
    assert (status.state, status.outstanding, status.cancelled) == (BatchState.CANCELLED, 0, 449)
    assert status.message == "too dear"
    with pytest.raises(BatchNotFound):
        await spoken.batches.cancel(NAMESPACE, "another", "")


async def test_what_failed_is_tried_again_also_after_it_was_folded(spoken: Spoken) -> None:
    await spoken.open()
    await spoken.submit("a", "b", "c")
    for item in "abc":
        await spoken.speak(item, "fail")
    await spoken.acknowledge((await spoken.results())[:2])
    await spoken.jobs.delete(NAMESPACE, item_id(BATCH, "b"))
    assert await spoken.batches.retry_failed(NAMESPACE, BATCH) == 2
    status = await spoken.batches.get(NAMESPACE, BATCH)
    assert (status.outstanding, status.failed) == (2, 1)
    await spoken.speak("a")
    old, new = await spoken.results()
    assert (old.item, old.epoch, new.item, new.epoch) == ("c", 1, "a", 2)
    await spoken.acknowledge([old, new])
    record = await spoken.jobs.load(NAMESPACE, item_id(BATCH, "c"))
    assert record.state is State.QUEUED, "the second life goes on"


async def test_a_lost_worker_ends_an_item_once(spoken: Spoken) -> None:
    """The fourth loss fails it, and that is told like any other end."""
    await spoken.open()
    await spoken.submit("a")
    job = JobKeys(NAMESPACE, item_id(BATCH, "a"))
    for n in range(4):
        lease = Lease(spoken.connection.scripts, job, f"boot:{n}", "boot")
        assert (await lease.claim(isolated=True)).outcome == "granted"
        await spoken.fleet.recover_jobs("boot", "it died")
    (result,) = await spoken.results()
    assert (result.state, result.code) == (State.FAILED, "worker_lost")


async def test_an_id_stands_for_one_text_while_it_is_under_way(spoken: Spoken) -> None:
    await spoken.open()
    await spoken.submit("a")
    with pytest.raises(Conflict):
        await spoken.submit("a", text="Other.")


async def test_results_are_waited_for(spoken: Spoken) -> None:
    await spoken.open()
    await spoken.submit("a")

    async def next_result() -> Result:
        while True:  # a look waits for a while, and the next one goes on
            for result in await spoken.batches.results(NAMESPACE, BATCH, wait=5.0):
                return result

    waiting = asyncio.create_task(next_result())
    await asyncio.wait([waiting], timeout=0.05)
    await spoken.speak("a")
    async with asyncio.timeout(60):
        result = await waiting
    assert result.item == "a"
    assert await spoken.results(after=result.entry) == []


async def test_an_ended_batch_expires_and_may_go_on(spoken: Spoken) -> None:
    await spoken.open()
    await spoken.submit("a")
    await spoken.batches.end(NAMESPACE, BATCH)
    redis = spoken.connection.redis
    batch_keys = [k for k in await spoken.keys() if b":batch:" in k or b":items:" in k]
    assert len(batch_keys) == 2
    assert all([await redis.pttl(key) > 0 for key in batch_keys])
    await spoken.open()
    assert all([await redis.pttl(key) == -1 for key in batch_keys])
    await spoken.batches.delete(NAMESPACE, BATCH)
    assert await spoken.batches.list(NAMESPACE) == []


EVENTS = ["submit", "finish", "fail", "cancel", "fold", "retry"]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(EVENTS)), max_size=40))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_every_item_is_counted_once(
    redis_url: str, events: Sequence[tuple[int, str]]
) -> None:
    asyncio.run(_live(redis_url, events))


async def _live(redis_url: str, events: Sequence[tuple[int, str]]) -> None:
    connection = Connection(Settings.load(redis_url=redis_url))
    await connection.redis.flushall()  # the server is the same for every example
    await connection.open()
    spoken, told = Spoken(connection), list[Result]()
    await spoken.open()
    status = await spoken.batches.get(NAMESPACE, BATCH)
    for number, event in events:
        if event == "submit":
            await spoken.submit(str(number))
        elif event == "fold":
            told += (results := await spoken.results(count=number + 1))
            await spoken.acknowledge(results)
        elif event == "retry":
            await spoken.batches.retry_failed(NAMESPACE, BATCH)
        else:
            with suppress(JobNotFound, AssertionError):  # there is none, or none to claim
                await spoken.speak(str(number), event)  # type: ignore[arg-type]  # the others are ends
        status = await spoken.batches.get(NAMESPACE, BATCH)
        ended = status.succeeded + status.failed + status.cancelled
        assert status.submitted == status.outstanding + ended
        assert status.outstanding == (await spoken.jobs.counts(NAMESPACE))[State.QUEUED]
    told += await spoken.results()
    assert len({result.entry for result in told}) == len(told)
    assert sum(result.state is State.SUCCEEDED for result in told) == status.succeeded
    await connection.close()
