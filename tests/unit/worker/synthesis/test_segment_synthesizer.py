"""`SegmentSynthesizer` over stubs: the store first, then the provider, never both."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from speechfleet.audio.wav import Wav
from speechfleet.errors import RateLimited, StoreError
from speechfleet.ledger import Lease
from speechfleet.ledger.queues import Queues
from speechfleet.ledger.rate_limits import Acquired, AcquireOutcome, Call
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Lane
from speechfleet.segment_store import SegmentStore, segment_hash
from speechfleet.settings import Timeouts
from speechfleet.store import Store
from speechfleet.words import SegmentWords
from speechfleet_worker.output.audio_object import StoreRetry
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis import segment_synthesizer
from speechfleet_worker.synthesis.admission import Admission, Suspended
from speechfleet_worker.synthesis.look_ahead import InFlightSegment, Spoken
from speechfleet_worker.synthesis.segment_synthesizer import SegmentSynthesizer
from tests.support.stub_ledger import (
    RATE,
    StubLease,
    StubModel,
    StubRateLimiter,
    make_record,
    make_store,
    make_voice,
    spoken,
)

TEXT = "Hello."


class Synthesis:
    """A synthesizer of one job, and what it asks."""

    def __init__(self, store: Store, record: Record, *answers: Acquired) -> None:
        self.model = StubModel()
        self.limiter = StubRateLimiter(answers)
        self.record = record
        self.segments = SegmentStore(store, "default")
        voice = make_voice(self.model)
        queues = cast("Queues", None)
        self.admission = Admission(
            self.limiter, queues, StubLease(), record, voice.capabilities, 0
        )
        self.synthesizer = SegmentSynthesizer(
            record,
            voice,
            lambda _: voice,
            self.admission,
            self.segments,
            StoreRetry(0),
            Timeouts(),
        )

    async def speak(self, text: str = TEXT, *, in_turn: bool = True) -> InFlightSegment:
        item = InFlightSegment(TextSegment(0, 0, len(text), text), is_last=True, spoken=Spoken(""))
        if in_turn:
            item.turn.set()
        item.begin(self.synthesizer.synthesize(item))
        assert item.task is not None
        await item.task
        return item

    def hash(self, salt: str = "") -> str:
        return segment_hash("default", self.record.request, TEXT, salt)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store")


def audio_of(item: InFlightSegment) -> bytes:
    return b"".join(piece.pcm for piece in item.untouched_audio())


async def test_a_new_text_is_spoken_by_the_provider(store: Store) -> None:
    synthesis = Synthesis(store, make_record(TEXT))
    item = await synthesis.speak()
    assert audio_of(item) == spoken(TEXT)
    result = item.spoken
    assert (result.is_called, result.is_stored, result.cached) == (True, False, False)
    assert result.hash == synthesis.hash()
    assert [call.units for call in synthesis.limiter.calls] == [len(TEXT)]


async def test_a_stored_text_is_not_spoken_again(store: Store) -> None:
    synthesis = Synthesis(store, make_record(TEXT))
    words = SegmentWords("provider", TEXT, ((0, 5, 0, 10),))
    await synthesis.segments.save(synthesis.hash(), spoken(TEXT), RATE, words)
    item = await synthesis.speak()
    assert audio_of(item) == spoken(TEXT)
    assert synthesis.model.asked == []
    assert (item.spoken.is_called, item.spoken.cached) == (False, True)
    assert item.spoken.words == (SpokenWord(0, 5, 0.0, 10 / RATE),)


async def test_a_text_that_this_job_stored_ahead_is_neither_cached_nor_called(
    store: Store,
) -> None:
    hash = Synthesis(store, make_record(TEXT)).hash()
    synthesis = Synthesis(store, make_record(TEXT, claims=2, ahead=f"1: {hash}"))
    await synthesis.segments.save(hash, spoken(TEXT), RATE)
    result = (await synthesis.speak()).spoken
    assert (result.is_counted, result.cached, result.is_called) == (True, False, False)


async def test_without_the_cache_a_segment_is_of_its_epoch_alone(store: Store) -> None:
    synthesis = Synthesis(store, make_record(TEXT, cache="0"))
    await synthesis.segments.save(synthesis.hash(), spoken(TEXT), RATE)
    item = await synthesis.speak()
    assert synthesis.model.asked == [TEXT]
    assert item.spoken.hash == synthesis.hash("default/job#1")


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(AcquireOutcome.NO_ROOM, "rate_limit"), (AcquireOutcome.IN_FLIGHT, "segment")],
    ids=["no room", "in flight"],
)
async def test_a_job_that_has_to_wait_is_suspended(
    store: Store, outcome: AcquireOutcome, kind: str
) -> None:
    answer = Acquired(outcome)
    synthesis = Synthesis(store, make_record(TEXT), answer)
    with pytest.raises(Suspended) as caught:
        await synthesis.speak()
    assert caught.value.kind == kind
    assert synthesis.model.asked == []


async def test_a_text_that_may_be_stored_is_looked_for_before_it_is_asked_for_again(
    store: Store,
) -> None:
    """Asking with nothing found would take the claim of the job that made the call."""
    synthesis = Synthesis(store, make_record(TEXT), Acquired(AcquireOutcome.STORED))
    acquire = synthesis.limiter.acquire

    async def stored_meanwhile(lease: Lease, call: Call) -> Acquired:
        answer = await acquire(lease, call)
        await synthesis.segments.save(synthesis.hash(), spoken(TEXT), RATE)
        return answer

    synthesis.limiter.acquire = stored_meanwhile  # type: ignore[method-assign]
    assert audio_of(await synthesis.speak()) == spoken(TEXT)
    assert synthesis.model.asked == []
    assert [call.missing for call in synthesis.limiter.calls] == [False]


async def test_a_text_that_proves_missing_is_spoken(store: Store) -> None:
    synthesis = Synthesis(store, make_record(TEXT), Acquired(AcquireOutcome.STORED))
    assert audio_of(await synthesis.speak()) == spoken(TEXT)
    assert [call.missing for call in synthesis.limiter.calls] == [False, True]


class LateRateLimiter(StubRateLimiter):
    """Answers once another job has stored the segment, after this one looked for it."""

    def __init__(self, segments: SegmentStore, hash: str) -> None:
        super().__init__()
        self.segments, self.hash = segments, hash
        self.looked = asyncio.Event()

    async def acquire(self, lease: Lease, call: Call) -> Acquired:
        await self.looked.wait()
        await self.segments.save(self.hash, spoken(TEXT), RATE)
        return await super().acquire(lease, call)


@pytest.mark.parametrize(("limit", "calls"), [(0.0, []), (60.0, [TEXT])], ids=["late", "in time"])
async def test_a_text_that_was_stored_before_a_late_answer_is_not_spoken(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: float, calls: list[str]
) -> None:
    """The connection broke; the other job's record went before the question was sent again."""
    synthesis = Synthesis(store, make_record(TEXT))
    limiter = LateRateLimiter(synthesis.segments, synthesis.hash())
    load = synthesis.segments.load

    async def look(hash: str) -> Wav | None:
        found = await load(hash)
        limiter.looked.set()
        return found

    monkeypatch.setattr(segment_synthesizer, "LATE_ANSWER_S", limit)
    monkeypatch.setattr(synthesis.admission, "_rate_limiter", limiter)
    monkeypatch.setattr(synthesis.segments, "load", look)
    item = await synthesis.speak()
    assert audio_of(item) == spoken(TEXT)
    assert synthesis.model.asked == calls


async def test_a_session_waits_for_nobody(store: Store) -> None:
    synthesis = Synthesis(
        store, make_record(TEXT, lane=Lane.SESSION), Acquired(AcquireOutcome.NO_ROOM)
    )
    assert audio_of(await synthesis.speak()) == spoken(TEXT)
    assert synthesis.limiter.calls == []


async def test_a_refusal_is_reported_to_the_fleet(store: Store) -> None:
    synthesis = Synthesis(store, make_record(TEXT))
    synthesis.model.errors[TEXT] = RateLimited("slow down", retry_after=7)
    with pytest.raises(RateLimited):
        await synthesis.speak()
    assert synthesis.limiter.refusals == [7]


async def test_a_recorded_segment_is_recalled_to_its_length(store: Store) -> None:
    synthesis = Synthesis(store, make_record(TEXT))
    await synthesis.segments.save("h", b"abcd", RATE)
    recall = synthesis.synthesizer.recall
    assert await recall(StoredSegment(0, 10, 16, 0, 5, "h")) == b"abcd\0\0"
    assert await recall(StoredSegment(0, 10, 12, 0, 5, "h")) == b"ab"
    with pytest.raises(StoreError, match="gone") as caught:
        await recall(StoredSegment(0, 0, 4, 0, 5, "missing"))
    assert caught.value.code == "segment_missing"
