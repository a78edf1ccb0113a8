"""Every provider call is counted once: replies are lost, owners sleep, others take over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from speechfleet.ledger import Claim, Lease, LeaseLost, RateLimiter
from speechfleet.ledger.batches import item_id
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.rate_limits import AcquireOutcome, Call
from speechfleet.lifecycle import State
from speechfleet.record import StoredSegment
from tests.support.spoken_batch import ACCOUNT, BATCH, END, NAMESPACE, Spoken
from tests.support.usages import usage_of

USAGE = {"calls": 1, "billed": 6}
SEGMENT = StoredSegment(0, 0, 0, 0, 6, "hash")
Loss = Callable[[Spoken, Lease], Awaitable[object]]


@pytest.fixture
def repeated(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send every command for counting twice, as after a connection that broke."""
    run = spoken.connection.scripts.run

    async def twice(script: str, *arguments: Any) -> Any:
        first = await run(script, *arguments)
        return await run(script, *arguments) if script == "count_call" else first

    monkeypatch.setattr(spoken.connection.scripts, "run", twice)


async def claimed(spoken: Spoken) -> tuple[Lease, Claim]:
    await spoken.open()
    await spoken.submit("a")
    return await spoken.claim("a")


async def sums(spoken: Spoken) -> dict[str, float]:
    [found] = (await usage_of(spoken.jobs, NAMESPACE)).values()
    return found


async def record(lease: Lease) -> bool:
    return await lease.segment(RecordedSegment(SEGMENT, 24_000, 1 << 20, ACCOUNT, USAGE))


@pytest.mark.usefixtures("repeated")
async def test_a_repeated_command_counts_once(spoken: Spoken) -> None:
    lease, claim = await claimed(spoken)
    assert claim.record is not None
    await lease.count_call(claim.record.epoch, ACCOUNT, USAGE, index=0)
    found = await spoken.jobs.load(NAMESPACE, claim.record.id)
    assert found.sums["calls"] == 1
    assert (await sums(spoken))["calls"] == 1


@pytest.mark.usefixtures("repeated")
async def test_a_job_of_another_epoch_counts_once_in_the_days_sums(spoken: Spoken) -> None:
    lease, claim = await claimed(spoken)
    assert claim.record is not None
    await lease.count_call(claim.record.epoch + 1, ACCOUNT, USAGE, index=0)
    assert (await sums(spoken))["calls"] == 1


async def test_two_calls_are_two(spoken: Spoken) -> None:
    lease, claim = await claimed(spoken)
    assert claim.record is not None
    for _ in range(2):
        await lease.count_call(claim.record.epoch, ACCOUNT, USAGE, index=0)
    found = await spoken.jobs.load(NAMESPACE, claim.record.id)
    assert found.sums["calls"] == 2


# --- the reply to `segment` is lost, and it is sent again -----------------------------------


async def finish(spoken: Spoken, lease: Lease) -> None:
    assert await lease.finish(replace(END, bytes=0), size=44, rate=24_000)


async def cancel(spoken: Spoken, lease: Lease) -> None:
    await spoken.jobs.cancel(NAMESPACE, lease.job.id, "not wanted")


async def recover(spoken: Spoken, lease: Lease) -> None:
    assert await spoken.fleet.recover_jobs(lease.boot, "it died") == [lease.job.name]


@pytest.mark.parametrize("lose", [finish, cancel, recover])
async def test_a_segment_is_known_to_be_recorded_after_its_job_was_lost(
    spoken: Spoken, lose: Loss
) -> None:
    """Else its call would be counted again, as one whose audio was thrown away."""
    lease, _ = await claimed(spoken)
    assert await record(lease)
    await lose(spoken, lease)
    assert await record(lease)
    assert (await sums(spoken))["calls"] == 1


async def end(lease: Lease, **changes: Any) -> bool:
    """End the job, and record its only segment with that."""
    last = RecordedSegment(replace(SEGMENT, **changes), 24_000, 1 << 20, ACCOUNT, USAGE)
    return await lease.finish(replace(END, bytes=0), last, size=44, rate=24_000)


async def test_a_segment_is_recorded_once_with_the_end(spoken: Spoken) -> None:
    """The reply is lost, and the command comes again."""
    lease, _ = await claimed(spoken)
    for _ in range(2):
        assert await end(lease)
    assert len(await spoken.jobs.segments(NAMESPACE, lease.job.id, 1)) == 1
    assert (await sums(spoken))["calls"] == 1


@pytest.mark.parametrize("lacks", [{"index": 1}, {"end": 2}])
async def test_a_job_that_lacks_something_ends_without_its_segment(
    spoken: Spoken, lacks: dict[str, int]
) -> None:
    """An earlier segment, or audio: the worker goes on from what is there."""
    lease, claim = await claimed(spoken)
    assert claim.record is not None
    assert not await end(lease, **lacks)
    assert not await spoken.jobs.segments(NAMESPACE, lease.job.id, 1)
    found = await spoken.jobs.load(NAMESPACE, claim.record.id)
    assert found.state is State.RUNNING
    assert not found.sums


@pytest.mark.parametrize("lose", [cancel, recover])
async def test_a_segment_that_came_too_late_is_not_recorded(spoken: Spoken, lose: Loss) -> None:
    lease, _ = await claimed(spoken)
    await lose(spoken, lease)
    with pytest.raises(LeaseLost):
        await record(lease)


async def acknowledged(spoken: Spoken, lease: Lease) -> None:
    await spoken.acknowledge(await spoken.results())


async def deleted(spoken: Spoken, lease: Lease) -> None:
    await spoken.jobs.delete(NAMESPACE, lease.job.id)


async def retried(spoken: Spoken, lease: Lease) -> None:
    assert await spoken.jobs.retry(NAMESPACE, lease.job.id) == 2


async def spoken_again(spoken: Spoken, lease: Lease) -> None:
    await retried(spoken, lease)
    await elsewhere(spoken, "a")


@pytest.mark.parametrize("follows", [acknowledged, deleted, retried, spoken_again])
async def test_the_call_of_an_end_that_its_worker_did_not_learn_of_counts_once(
    spoken: Spoken, follows: Loss
) -> None:
    """The reply is lost, and before the command comes again the ended job is somebody else's."""
    lease, claim = await claimed(spoken)
    assert claim.record is not None
    assert await end(lease)
    await follows(spoken, lease)
    with pytest.raises(LeaseLost):
        await end(lease)
    await count(lease, claim.record.epoch)
    assert (await sums(spoken))["calls"] == 1


async def test_the_call_of_a_segment_whose_recording_is_unknown_counts_once(
    spoken: Spoken,
) -> None:
    """Redis was away for longer than the command is repeated; then the run ends."""
    lease, claim = await claimed(spoken)
    assert claim.record is not None
    assert await record(lease)
    await count(lease, claim.record.epoch)
    assert (await sums(spoken))["calls"] == 1


# --- an owner falls asleep between storing a segment and recording it -----------------------


async def taken_over(spoken: Spoken) -> tuple[Lease, Lease, int]:
    """Let a worker begin a segment, and another one take its job; return both leases."""
    asleep, claim = await claimed(spoken)
    assert claim.record is not None
    call = Call(claim.record.request.model, "batch", SEGMENT.hash, 0, units=6)
    await RateLimiter(spoken.connection).acquire(asleep, call)
    await recover(spoken, asleep)
    return asleep, await elsewhere(spoken, "a"), claim.record.epoch


async def elsewhere(spoken: Spoken, item: str) -> Lease:
    """Claim an item for another worker."""
    job = JobKeys(NAMESPACE, item_id(BATCH, item))
    lease = Lease(spoken.connection.scripts, job, f"other:{item}", "other")
    assert (await lease.claim()).outcome == "granted"
    return lease


async def count(lease: Lease, epoch: int) -> None:
    await lease.count_call(epoch, ACCOUNT, USAGE, index=SEGMENT.index, complete=SEGMENT.hash)


async def test_a_call_that_was_inherited_is_not_counted_by_who_made_it(spoken: Spoken) -> None:
    asleep, heir, epoch = await taken_over(spoken)
    assert await heir.inherit_call(SEGMENT.hash)
    assert await record(heir)
    await count(asleep, epoch)
    assert (await sums(spoken))["calls"] == 1


async def test_a_call_that_was_counted_is_not_inherited(spoken: Spoken) -> None:
    asleep, heir, epoch = await taken_over(spoken)
    await count(asleep, epoch)
    assert not await heir.inherit_call(SEGMENT.hash)


async def test_an_heir_that_dies_leaves_the_call_to_the_next(spoken: Spoken) -> None:
    _, heir, _ = await taken_over(spoken)
    assert await heir.inherit_call(SEGMENT.hash)
    await recover(spoken, heir)
    next_heir = Lease(spoken.connection.scripts, heir.job, "third:a", "third")
    assert (await next_heir.claim(isolated=True)).outcome == "granted"
    assert await next_heir.inherit_call(SEGMENT.hash)


async def ask_for_another_job(
    spoken: Spoken, *, missing: bool = False
) -> tuple[Lease, AcquireOutcome]:
    """Ask for the call on behalf of a job with the same text; return its lease and the answer."""
    await spoken.submit("b")
    other = await elsewhere(spoken, "b")
    return other, await ask(spoken, other, missing=missing)


async def ask(spoken: Spoken, lease: Lease, *, missing: bool = False) -> AcquireOutcome:
    call = Call("espeak/espeak-ng", "batch", SEGMENT.hash, 0, units=6, missing=missing)
    return (await RateLimiter(spoken.connection).acquire(lease, call)).outcome


async def test_a_call_is_inherited_although_another_job_uses_its_audio_first(
    spoken: Spoken,
) -> None:
    """Both wait for the same text, and its worker died after it had stored the audio."""
    _, heir, _ = await taken_over(spoken)
    other, answer = await ask_for_another_job(spoken)
    assert answer == "stored", "it may be: look"
    cached = RecordedSegment(SEGMENT, 24_000, 1 << 20, ACCOUNT, {"cached": 6})
    assert await other.segment(cached)
    assert await heir.inherit_call(SEGMENT.hash)
    assert await record(heir)
    assert await sums(spoken) == {"calls": 1, "billed": 6, "cached": 6}


async def test_a_call_that_a_lost_worker_has_not_stored_is_made_by_any_job(
    spoken: Spoken,
) -> None:
    _, heir, _ = await taken_over(spoken)
    _, answer = await ask_for_another_job(spoken, missing=True)
    assert answer == "granted"
    assert not await heir.inherit_call(SEGMENT.hash)
    assert await ask(spoken, heir, missing=True) == "in_flight"


async def test_a_run_does_not_inherit_its_own_calls(spoken: Spoken) -> None:
    asleep, _, _ = await taken_over(spoken)
    assert not await asleep.inherit_call(SEGMENT.hash)


async def test_a_call_for_a_job_that_is_gone_leaves_nothing_for_ever(spoken: Spoken) -> None:
    """Its worker lost it, and does not know that yet."""
    lease, claim = await claimed(spoken)
    assert claim.record is not None
    await cancel(spoken, lease)
    await spoken.acknowledge(await spoken.results())
    assert await spoken.jobs.find(NAMESPACE, lease.job.id) is None
    call = Call(claim.record.request.model, "batch", SEGMENT.hash, 0, units=6)
    await RateLimiter(spoken.connection).acquire(lease, call)
    assert await spoken.connection.scripts.call("PTTL", lease.job.begun) > 0
