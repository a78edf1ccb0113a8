"""Where answers are lost or late, and turns do not come: an item of a batch still ends once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from speechfleet.batch.feeder import Feeder
from speechfleet.batch.pricing import PriceList, SpendingLimit, most_of
from speechfleet.client import AsyncClient
from speechfleet.corpus.item import Item
from speechfleet.errors import BatchStopped
from speechfleet.ledger import Jobs, Lease, Submitted, keys
from speechfleet.ledger.batches import item_id
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.queues import Queues
from speechfleet.ledger.rate_limits import Call, RateLimiter
from speechfleet.record import StoredSegment
from speechfleet.request import Lane, Request
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.running_jobs import RunningJobs
from speechfleet_worker.segmentation import TextSegment as Cut
from speechfleet_worker.synthesis.admission import Admission
from speechfleet_worker.synthesis.execution import Execution
from speechfleet_worker.synthesis.look_ahead import InFlightSegment
from speechfleet_worker.synthesis.look_ahead import Spoken as SpokenText
from tests.support.spoken_batch import ACCOUNT, BATCH, END, NAMESPACE, Spoken


async def test_an_item_that_is_written_down_is_not_spoken_again(spoken: Spoken) -> None:
    """Its worker may not know yet that it finished: the answer was lost, or is slow to come."""
    await spoken.open()
    await spoken.submit("a")
    lease, claim = await spoken.claim("a")
    assert claim.record is not None
    context = SimpleNamespace(
        settings=spoken.connection.settings, ledger=SimpleNamespace(jobs=spoken.jobs)
    )
    execution = Execution(cast("Any", context), cast("Any", None), lease)
    execution._request = claim.record.request
    usage = {"characters": 6, "billed": 6, "calls": 1, "audio_ms": 500}
    await lease.segment(
        RecordedSegment(StoredSegment(0, 0, 96, 0, 6, "hash"), 24_000, 1 << 20, ACCOUNT, usage)
    )
    assert await lease.finish(END, size=140, rate=24_000)
    await spoken.acknowledge(await spoken.results())
    assert await execution.regain() is None
    assert await spoken.jobs.find(NAMESPACE, item_id(BATCH, "a")) is None
    status = await spoken.batches.get(NAMESPACE, BATCH)
    assert (status.submitted, status.succeeded, status.outstanding) == (1, 1, 0)


async def test_what_was_stored_and_not_recorded_was_spoken_for_its_own_job(spoken: Spoken) -> None:
    """Its worker died in between: it is billed to the job, and not told as found."""
    await spoken.open()
    await spoken.submit("a")
    await spoken.submit("b")
    lease, _ = await spoken.claim("a")
    budgets = RateLimiter(spoken.connection)
    call = Call("espeak/espeak-ng", "batch", "hash", 0, 6)
    assert (await budgets.acquire(lease, call)).outcome == "granted"
    assert not await lease.inherit_call("hash")
    later = Lease(spoken.connection.scripts, lease.job, "later:1", "later")
    assert await later.inherit_call("hash")
    assert not await later.inherit_call("another hash")
    others, _ = await spoken.claim("b")
    assert not await others.inherit_call("hash")


async def test_who_is_cancelled_while_it_asks_leaves_nothing_taken(spoken: Spoken) -> None:
    """The answer is on its way; else equal texts would wait for a job that is gone."""
    asked = asyncio.Event()

    class Slow(RateLimiter):
        async def acquire(self, lease: Lease, call: Call) -> Any:
            await super().acquire(lease, call)
            asked.set()
            await asyncio.Event().wait()

    await spoken.open()
    await spoken.submit("a")
    await spoken.submit("b")
    lease, claim = await spoken.claim("a")
    assert claim.record is not None
    admission = Admission(
        Slow(spoken.connection), Queues(spoken.connection), lease, claim.record, Capabilities(), 0
    )
    item = InFlightSegment(Cut(0, 0, 6, "Hello."), is_last=True, spoken=SpokenText("hash"))
    entering = asyncio.create_task(admission.enter(item))
    await asked.wait()
    entering.cancel()
    await asyncio.wait([entering])
    others, _ = await spoken.claim("b")
    call = Call(claim.record.request.model, "batch", "hash", 0, 6)
    await spoken.connection.scripts.call("HSET", keys.HEARTBEATS, "boot", 1)  # both are alive
    assert (await RateLimiter(spoken.connection).acquire(others, call)).outcome == "in_flight"
    await admission.close()
    assert (await RateLimiter(spoken.connection).acquire(others, call)).outcome == "granted"


async def test_a_worker_leaves_alone_what_is_ending(spoken: Spoken) -> None:
    """The record says SUCCEEDED before the answer is here: the object is no loser's.

    And what was cancelled is on its way out.
    """
    running = asyncio.get_running_loop().create_future()
    regained: list[str] = []

    async def regain(name: str, *_: object) -> None:
        regained.append(name)

    jobs = SimpleNamespace(
        _context=SimpleNamespace(boot="boot", ledger=SimpleNamespace(workers=spoken.fleet)),
        _left={},
        _unknown=set(),
        _running={
            name: (SimpleNamespace(ending=name == "ending", unwanted=name == "cancelled"), running)
            for name in ("ending", "cancelled", "forgotten")
        },
        _regain=regain,
    )
    await RunningJobs.reconcile(cast("Any", jobs))
    assert regained == ["forgotten"]


async def test_a_job_that_ends_while_its_worker_asks_for_it_is_not_stopped() -> None:
    """Else its audio would be deleted as that of a lost job."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def regain() -> None:
        asked.set()
        await answered.wait()

    execution = SimpleNamespace(ending=False, unwanted=False, regain=regain)
    task = asyncio.create_task(asyncio.sleep(60))
    jobs = RunningJobs.__new__(RunningJobs)
    asking = asyncio.create_task(jobs._regain("a", cast("Any", execution), cast("Any", task)))
    await asked.wait()
    execution.ending = True
    answered.set()
    await asking
    assert not execution.unwanted
    assert not task.cancelling()
    task.cancel()


async def test_a_job_that_is_cancelled_while_its_worker_asks_for_it_is_cancelled_once() -> None:
    """A second time would cut its way out short, and a provider's call would go on."""
    execution = SimpleNamespace(ending=False, unwanted=False)
    task = asyncio.create_task(asyncio.sleep(60))

    async def regain() -> None:
        execution.unwanted = True

    execution.regain = regain
    jobs = RunningJobs.__new__(RunningJobs)
    await jobs._regain("a", cast("Any", execution), cast("Any", task))
    assert not task.cancelling()
    task.cancel()


async def test_a_submit_whose_answer_is_late_finds_its_job(spoken: Spoken) -> None:
    """The first try is carried out, and ended, before it is tried again."""
    sent, ended = asyncio.Event(), asyncio.Event()

    class Late(Jobs):
        async def submit_each(self, *args: Any, **options: Any) -> Any:
            (first,) = await super().submit_each(*args, **options)
            sent.set()
            await ended.wait()
            (again,) = await super().submit_each(*args, **options)
            assert isinstance(first, Submitted)
            assert isinstance(again, Submitted)
            assert (first.new, again.new) == (True, False)
            return [again]

    await spoken.open()
    request = Request("Hello.", "espeak/espeak-ng", lane=Lane.BATCH, batch=BATCH)
    feeder = Feeder(
        Late(spoken.connection),
        NAMESPACE,
        BATCH,
        request=lambda _: request,
        is_done=lambda *_: False,
        limit=SpendingLimit(PriceList({})),
    )
    feeding = asyncio.create_task(feeder.feed([Item("a", "Hello.")]))
    await sent.wait()
    await spoken.speak("a")
    results = await spoken.results()
    answered = asyncio.create_task(feeder.submits.wait(results))
    await asyncio.wait([answered], timeout=0.05)
    assert not answered.done()
    ended.set()
    await answered
    await spoken.acknowledge(results)
    feeder.settle(results[0])
    await feeding
    assert (await spoken.batches.get(NAMESPACE, BATCH)).submitted == 1


async def test_what_ends_while_it_waits_for_the_purse_is_not_sent_again(spoken: Spoken) -> None:
    """An earlier run had sent it; once it is written down, the fleet knows nothing of it."""
    await spoken.open()
    await spoken.submit("b")
    request = Request("Hello.", "espeak/espeak-ng", lane=Lane.BATCH, batch=BATCH)
    written: set[str] = set()
    limit = most_of(PriceList({}), request.model, request.text).characters
    feeder = Feeder(
        spoken.jobs,
        NAMESPACE,
        BATCH,
        request=lambda _: request,
        is_done=lambda item, _: item.id in written,
        limit=SpendingLimit(PriceList({}), max_chars=limit),
    )
    feeding = asyncio.create_task(feeder.feed([Item("a", "Hello."), Item("b", "Hello.")]))
    for item, end in (("b", "finish"), ("a", "fail")):
        async with asyncio.timeout(60):
            while item not in await spoken.waiting() or not feeder.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert await spoken.speak(item, cast("Any", end)) != "withdrawn"
        results = await spoken.results()
        feeder.count_early([{"id": item, "state": results[0].state, "billed": 0}])
        written.add(item)
        await feeder.submits.wait(results)
        await spoken.acknowledge(results)
        feeder.settle(results[0])
    async with asyncio.timeout(60):
        await feeding
    assert (await spoken.batches.get(NAMESPACE, BATCH)).submitted == 2
    assert feeder.skipped == 0, "this run has told how it ended"


async def test_a_run_ends_at_once_where_the_account_is_at_fault(
    spoken: Spoken, tmp_path: Path
) -> None:
    """Its other items wait, for a turn that may not come."""
    settings = spoken.connection.settings
    async with AsyncClient(settings, store=tmp_path.as_uri(), namespace=NAMESPACE) as client:
        batch = client.batch(["One.", "Two.", "Three."], model="espeak/espeak-ng", id=BATCH)
        running = asyncio.create_task(batch.run())
        async with asyncio.timeout(60):
            while len(items := await spoken.waiting()) < 3:  # noqa: ASYNC110 # only Redis knows
                await asyncio.sleep(0)
        fault = {"code": "quota_exceeded", "of_account": True}
        assert await spoken.speak(items[0], "fail", **fault) == "withdrawn"
        async with asyncio.timeout(60):
            with pytest.raises(BatchStopped, match="no") as stopped:
                await running
    assert stopped.value.code == "quota_exceeded"
    assert (await spoken.batches.get(NAMESPACE, BATCH)).outstanding == 0
