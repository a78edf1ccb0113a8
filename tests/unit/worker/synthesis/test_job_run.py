"""`JobRun` over a stub ledger: from a text to the end, and what is left when it fails."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from speechfleet.errors import ProviderUnavailable, StoreUnavailable
from speechfleet.ledger import Claim, LeaseLost, keys
from speechfleet.ledger.lease import ClaimOutcome
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Lane
from speechfleet.segment_store import SegmentStore
from speechfleet.settings import Settings
from speechfleet.store import Store
from speechfleet_worker.middleware import Middleware, MiddlewareStack
from speechfleet_worker.segmentation import cut
from speechfleet_worker.slots import Slot, Slots
from speechfleet_worker.synthesis.execution import hold_slot, job_info
from speechfleet_worker.synthesis.job_run import HandOver, JobRun
from speechfleet_worker.synthesis.look_ahead import LookAhead, SegmentSource, Speak
from tests.support.stub_ledger import (
    StubLease,
    StubModel,
    StubQueues,
    make_context,
    make_counts,
    make_record,
    make_store,
    make_voice,
    spoken,
    usage_of,
)

TEXT = "Alpha is here. Beta is here. Gamma is here. Delta is here."
SENTENCES = [sentence + "." for sentence in TEXT.rstrip(".").split(". ")]


class Running:
    """One run of one job, with a model of stubs. ``says``: what Redis knows of the job now."""

    def __init__(
        self,
        store: Store,
        model: StubModel,
        *,
        lease: StubLease | None = None,
        record: Record | None = None,
        says: Callable[[], Record | None] | None = None,
        hooks: MiddlewareStack | None = None,
        ahead: int = 3,
        slot: Slot | None = None,
    ) -> None:
        self.store = store
        self.model = model
        self.lease = lease or StubLease()
        self.record = record or make_record(TEXT, cut="sentence")
        self.ahead = ahead
        self.queues = StubQueues()
        self.asks_for_slot = asyncio.Event()
        told = says or (lambda: self.record)
        self.recorded: list[StoredSegment] = []
        self.context = make_context(
            store, record=told, queues=self.queues, middleware=hooks, recorded=self.recorded
        )
        self.run = JobRun(
            self.context,
            self.lease,
            self.record,
            make_voice(model),
            lambda _: make_voice(model),
            done=[],
            counts=make_counts(self.record),
            job=job_info(Claim(ClaimOutcome.GRANTED, record=self.record)),
            hold_slot=partial(ask_for, slot, self.asks_for_slot),
            on_spoken=lambda: None,
        )

    async def start(self) -> None:
        await self.run.run(self.segments)

    def segments(self, speak: Speak) -> SegmentSource:
        text = self.record.request.text
        segments = cut(text, mode="sentence", limit=1000, count=len, language="en")
        return LookAhead(segments, speak, self.ahead)

    async def is_stored(self, hash: str) -> bool:
        return await SegmentStore(self.store, "default").load(hash) is not None


async def ask_for(slot: Slot | None, asked: asyncio.Event) -> None:
    asked.set()
    await hold_slot(slot)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store")


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 # nobody tells it
            await asyncio.sleep(0)


async def test_a_job_runs_to_its_end(store: Store) -> None:
    running = Running(store, StubModel())
    await running.start()
    assert running.model.asked == SENTENCES
    assert bytes(running.lease.published) == b"".join(map(spoken, SENTENCES))
    assert running.lease.finished is not None
    assert usage_of(running.lease.finished)["calls"] == 4
    assert running.lease.counted == {}


async def test_the_audio_of_a_run_that_has_ended_is_freed_at_once(store: Store) -> None:
    """Garbage collection, which is rare, would find it much later."""
    record = make_record(TEXT, cut="sentence")
    running = Running(store, StubModel(), record=record, says=lambda: record)
    await running.start()
    run = weakref.ref(running.run)
    gc.disable()
    try:
        del running
        assert run() is None
    finally:
        gc.enable()


async def test_a_job_gives_its_slot_away_at_the_end_of_a_segment(store: Store) -> None:
    running = Running(store, StubModel(), ahead=0)
    running.context.slots.take(running.record.queue)
    running.queues.somebody_waits = True
    with pytest.raises(HandOver, match="gave way"):
        await running.start()
    assert len(running.lease.segments) == 1
    assert running.lease.finished is None


async def test_what_is_spoken_ahead_is_heard_before_a_job_gives_way(store: Store) -> None:
    """It was paid for."""
    running = Running(store, StubModel(), ahead=1)
    running.context.slots.take(running.record.queue)
    running.queues.somebody_waits = True
    with pytest.raises(HandOver, match="gave way"):
        await running.start()
    assert len(running.lease.segments) == len(running.model.asked) < len(SENTENCES)
    assert running.lease.counted == {}


async def test_a_job_that_was_made_ready_asks_nobody_before_it_has_a_slot(store: Store) -> None:
    slots = Slots(Settings(slots=1), [Lane.BATCH], ["stub"])
    queue = keys.queue(Lane.BATCH, "stub")
    before, slot = slots.take(queue), slots.take(queue)
    running = Running(store, StubModel(), slot=slot)
    task = asyncio.create_task(running.start())
    await running.asks_for_slot.wait()
    assert running.model.asked == []
    before.leave()
    await task
    assert running.model.asked == SENTENCES


async def test_a_job_that_finds_no_slot_is_left_to_other_workers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechfleet_worker.slots.READY_PATIENCE_S", 0.01)
    slots = Slots(Settings(slots=1), [Lane.BATCH], ["stub"])
    queue = keys.queue(Lane.BATCH, "stub")
    before, slot = slots.take(queue), slots.take(queue)
    running = Running(store, StubModel(), slot=slot)
    with pytest.raises(HandOver, match="no slot"):
        await running.start()
    assert running.model.asked == []
    assert running.lease.counted == {}
    slot.leave()
    before.leave()
    assert slots.is_open(queue)


async def test_a_job_keeps_its_slot_while_nobody_should_have_it(store: Store) -> None:
    running = Running(store, StubModel())
    running.context.slots.take(running.record.queue)
    await running.start()
    assert running.queues.asked == len(SENTENCES) - 1, "not after the last"
    assert running.lease.finished is not None


async def test_a_worker_with_room_asks_nobody(store: Store) -> None:
    running = Running(store, StubModel())
    running.queues.somebody_waits = True
    await running.start()
    assert running.queues.asked == 0


async def test_segments_spoken_ahead_are_kept_when_an_earlier_one_fails(store: Store) -> None:
    model = StubModel()
    model.gates[SENTENCES[0]] = asyncio.Event()
    model.errors[SENTENCES[0]] = ProviderUnavailable("once")
    first = Running(store, model)
    task = asyncio.create_task(first.start())
    await wait_for(lambda: len(model.ended) == 3)
    model.gates.pop(SENTENCES[0]).set()
    with pytest.raises(ProviderUnavailable):
        await task
    assert len(first.lease.stored_ahead) == 3
    assert first.lease.counted == {"calls": 4, "billed": sum(map(len, SENTENCES[1:]))}

    ahead = "1: " + " ".join(first.lease.stored_ahead)
    again = Running(store, model, record=make_record(TEXT, cut="sentence", claims=2, ahead=ahead))
    await again.start()
    assert model.asked == [*SENTENCES, SENTENCES[0]]
    assert again.lease.finished is not None
    usage = usage_of(again.lease.finished)
    assert (usage["calls"], usage["billed"]) == (1, len(SENTENCES[0]))
    assert "cached" not in usage


async def test_what_was_not_complete_is_counted_and_not_kept(store: Store) -> None:
    model = StubModel()
    model.gates = {sentence: asyncio.Event() for sentence in SENTENCES[1:]}
    model.errors[SENTENCES[0]] = ProviderUnavailable("once")
    gate = model.gates[SENTENCES[0]] = asyncio.Event()
    running = Running(store, model)
    task = asyncio.create_task(running.start())
    await wait_for(lambda: len(model.asked) == 4)
    gate.set()
    with pytest.raises(ProviderUnavailable):
        await task
    assert running.lease.counted == {"calls": 4}
    assert running.lease.stored_ahead == []
    assert await store.list() == []


async def test_a_lost_job_keeps_nothing_and_counts_its_calls(store: Store) -> None:
    model = StubModel()
    running = Running(store, model, lease=StubLease(lose_at="segment"))
    with pytest.raises(LeaseLost):
        await running.start()
    assert running.lease.counted["calls"] == len(model.asked)
    assert running.lease.stored_ahead == []


async def test_a_cancelled_job_that_was_deleted_leaves_nothing(store: Store) -> None:
    model = StubModel()
    model.gates[SENTENCES[1]] = asyncio.Event()
    running = Running(store, model, says=lambda: None)
    task = asyncio.create_task(running.start())
    await wait_for(lambda: len(model.ended) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await running.run.discard()
    named = {segment.hash for segment in running.lease.segments}
    left = {key.rpartition("/")[2] for key in await store.list()}
    assert left <= named, "the delete of the job itself removes these"


async def test_a_store_that_is_away_is_waited_for_to_discard_what_a_lost_job_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would: no record names it."""
    running = Running(store, StubModel(), lease=StubLease(lose_at="finish"), says=lambda: None)
    with pytest.raises(LeaseLost):
        await running.start()
    assert await store.list("audio/")
    delete, refused = store.delete, []

    async def delete_later(key: str) -> None:
        if key not in refused:
            refused.append(key)
            raise StoreUnavailable("not mounted")
        await delete(key)

    monkeypatch.setattr(store, "delete", delete_later)
    await running.run.discard()
    assert await store.list("audio/") == []


async def test_the_audio_that_the_record_names_is_not_discarded(store: Store) -> None:
    """The job has ended, and the answer that told so was lost."""
    known = make_record(TEXT, cut="sentence")
    running = Running(store, StubModel(), lease=StubLease(lose_at="finish"), says=lambda: known)
    with pytest.raises(LeaseLost):
        await running.start()
    stored = await store.list("audio/")
    [key] = [key for key in stored if key.endswith(".wav")]
    known = make_record(TEXT, state="SUCCEEDED", object=key)
    await running.run.discard()
    assert await store.list("audio/") == stored
    known = make_record(TEXT, state="SUCCEEDED", object="audio/another.wav")
    await running.run.discard()
    assert await store.list("audio/") == []


async def test_an_object_that_holds_a_recorded_segment_is_not_discarded(store: Store) -> None:
    """Another worker has the job by now, and goes on from this segment."""
    record = make_record("One sentence.")
    running = Running(store, StubModel(), lease=StubLease(lose_at="finish"), record=record)
    with pytest.raises(LeaseLost):
        await running.start()
    assert running.lease.last is not None
    segment = running.lease.last.stored
    running.recorded.append(segment)
    await running.run.discard()
    assert await running.is_stored(segment.hash)
    running.recorded.clear()
    await running.run.discard()
    assert not await running.is_stored(segment.hash)


async def test_cleaning_up_is_not_cancelled_half_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that finds its job lost cancels it, perhaps twice."""
    begun, go_on = threading.Event(), threading.Event()
    put = store._put_each

    def slow(*arguments: Any) -> list[bool]:
        begun.set()
        go_on.wait()
        return put(*arguments)

    monkeypatch.setattr(store, "_put_each", slow)
    record = make_record("Secret.")
    running = Running(store, StubModel(), record=record, says=lambda: None)
    task = asyncio.create_task(running.start())
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await running.run.discard()
    assert await store.list() == []


class Pronunciation(Middleware):
    async def before_call(self, job: object, text: str) -> str:
        return text.replace("Beta", "Bayta")


async def test_a_hook_changes_what_is_spoken_and_hashed(store: Store) -> None:
    plain, fixed = Running(store, StubModel()), StubModel()
    await plain.start()
    changed = Running(store, fixed, hooks=MiddlewareStack([Pronunciation()]))
    await changed.start()
    assert fixed.asked == ["Bayta is here."]  # the others are stored
    hashes = [[segment.hash for segment in r.lease.segments] for r in (plain, changed)]
    assert [a == b for a, b in zip(*hashes, strict=True)] == [True, False, True, True]
    segment = changed.lease.segments[1]
    assert TEXT[segment.text_start : segment.text_end].strip() == "Beta is here."


async def test_a_slow_hook_keeps_the_order_of_segments(store: Store) -> None:
    class Slow(Middleware):
        async def before_call(self, job: object, text: str) -> str:
            for _ in range(20 if text == SENTENCES[0] else 0):
                await asyncio.sleep(0)
            return text

    model = StubModel()
    await Running(store, model, hooks=MiddlewareStack([Slow()])).start()
    assert model.asked == SENTENCES
