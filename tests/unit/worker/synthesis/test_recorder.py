"""`AudioRecorder` over a stub ledger: stream, segment store, record and object agree."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from speechfleet.audio import wav
from speechfleet.audio.media_type import PcmShape
from speechfleet.errors import EmptyText
from speechfleet.ledger import LeaseLost
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Lane
from speechfleet.segment_store import SegmentStore
from speechfleet.settings import Settings
from speechfleet.spoken_form import SpokenForm
from speechfleet.store import Store, layout
from speechfleet.store.folder import FolderStore
from speechfleet.timeline import stored_timeline
from speechfleet_worker.output.audio_object import StoreRetry
from speechfleet_worker.output.loudness import TRUE_PEAK_DB, LoudnessMeter
from speechfleet_worker.output.publisher import Forgotten
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis.checkpoints import SegmentRecord
from speechfleet_worker.synthesis.look_ahead import InFlightSegment, LookAhead, Spoken
from speechfleet_worker.synthesis.model_driver import AudioPiece
from speechfleet_worker.synthesis.recorder import AudioRecorder, Destination, Recall
from speechfleet_worker.synthesis.segment_saver import SegmentSaver
from tests.support.stub_ledger import (
    RATE,
    StubLease,
    make_counts,
    make_record,
    make_store,
    spoken,
    usage_of,
)

GAP_S = 0.1
GAP = bytes(2 * round(GAP_S * RATE))
NO_SOURCE = LookAhead(iter(()), lambda item: asyncio.sleep(0), 0)


class Recording:
    """A recorder, and what is behind it."""

    def __init__(
        self,
        store: Store,
        record: Record,
        lease: StubLease | None = None,
        done: tuple[StoredSegment, ...] = (),
        recall: Recall | None = None,
    ) -> None:
        self.store = store
        self.lease = lease or StubLease()
        self.segments = SegmentStore(store, "default")
        self.recorded: list[str] = []
        self.spoken_before: list[int] = []
        """The segments that were recorded when the last one had been spoken."""
        retry = StoreRetry(0)
        self.saver = SegmentSaver(self.segments, retry, self.lease)
        counts = make_counts(record)
        self.recorder = AudioRecorder(
            Destination(self.lease, store, retry, self.saver, Settings()),
            record,
            SegmentRecord(
                self.lease,
                self.saver,
                counts,
                account="default:stub",
                window=1 << 20,
                on_recorded=self.recorded.append,
            ),
            Capabilities(segment_gap=GAP_S),
            counts,
            done,
            recall or self.recall,
            lambda: self.spoken_before.append(len(self.recorded)),
        )

    async def recall(self, segment: StoredSegment) -> bytes:
        """The audio of a stored segment, with the gap behind it."""
        pcm = bytes((await self.segments.read(segment.hash)).pcm)
        return pcm.ljust(segment.end - segment.start, b"\0")

    async def take(
        self, text: str, index: int = 0, *, is_last: bool, cached: bool = False, **audio: int
    ) -> InFlightSegment:
        """One segment, spoken as `StubModel` does."""
        segment = TextSegment(index, 10 * index, 10 * index + len(text), text)
        result = Spoken(f"hash{index}", cached=cached, is_stored=cached, is_called=not cached)
        item = InFlightSegment(segment, is_last, result)
        rate, channels = audio.get("rate", RATE), audio.get("channels", 1)
        pcm = spoken(text, rate, channels)

        async def call() -> None:
            for part in (pcm[: len(pcm) // 8 * 4], pcm[len(pcm) // 8 * 4 :]):
                item.give(AudioPiece(part, PcmShape(rate, channels), None, {}))
                await asyncio.sleep(0)

        item.begin(call())
        await self.recorder.take(item, NO_SOURCE)
        return item

    async def stored_pcm(self, hash: str) -> bytes:
        found = await self.segments.load(hash)
        assert found is not None
        assert found.sample_rate == RATE
        return bytes(found.pcm)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store")


async def test_one_segment_is_stored_once_with_a_note(store: Store) -> None:
    recording = Recording(store, make_record("Hello."))
    await recording.take("Hello.", is_last=True)
    assert not recording.recorded
    await recording.recorder.finish()
    lease = recording.lease
    assert lease.finished is not None
    assert lease.writes[-1] == "finish"
    assert bytes(lease.published) == spoken("Hello.")
    assert wav.decode(await store.get(lease.finished.object)).pcm == spoken("Hello.")
    assert (await store.get(layout.segment_object("default", "hash0")))[:1] == b"{"
    assert await recording.stored_pcm("hash0") == spoken("Hello.")
    assert usage_of(lease.finished) == {"characters": 6, "billed": 6, "calls": 1, "seconds": 0.06}
    assert recording.recorded == [segment.hash for segment in lease.segments]


async def test_all_is_spoken_before_the_last_segment_is_stored(store: Store) -> None:
    """From then on the job needs no slot."""
    recording = Recording(store, make_record("One. Two."))
    await recording.take("One.", 0, is_last=False)
    assert recording.spoken_before == []
    await recording.take("Two.", 1, is_last=True)
    assert recording.spoken_before == [1]


async def test_many_segments_are_saved_and_recorded_in_turn(store: Store) -> None:
    recording = Recording(store, make_record("One. Two."))
    await recording.take("One.", 0, is_last=False)
    assert recording.recorded == [segment.hash for segment in recording.lease.segments]
    assert await recording.stored_pcm("hash0") == spoken("One.")
    await recording.take("Two.", 1, is_last=True)
    await recording.recorder.finish()
    lease = recording.lease
    assert [segment.hash for segment in lease.segments] == ["hash0", "hash1"]
    assert lease.segments[0].end == lease.segments[1].start == len(spoken("One.") + GAP)
    whole = spoken("One.") + GAP + spoken("Two.")
    assert bytes(lease.published) == whole
    assert lease.finished is not None
    assert lease.finished.bytes == len(whole)
    assert wav.decode(await store.get(lease.finished.object)).pcm == whole


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (24_000, 2), (48_000, 2)])
async def test_audio_of_another_shape_becomes_that_of_the_stream(
    store: Store, rate: int, channels: int
) -> None:
    recording = Recording(store, make_record())
    await recording.take("One.", 0, is_last=False)
    await recording.take("Two.", 1, is_last=True, rate=rate, channels=channels)
    await recording.recorder.finish()
    size = len(await recording.stored_pcm("hash1"))
    assert abs(size - len(spoken("Two."))) <= 4
    assert recording.lease.segments[1].end - recording.lease.segments[1].start == size


async def test_a_stored_segment_of_another_rate_gets_a_hash_of_its_own(store: Store) -> None:
    recording = Recording(store, make_record())
    await recording.take("One.", 0, is_last=False)
    await recording.take("Two.", 1, is_last=True, cached=True, rate=48_000)
    hash = recording.lease.segments[1].hash
    assert hash != "hash1"
    assert abs(len(await recording.stored_pcm(hash)) - len(spoken("Two."))) <= 4


async def test_a_click_is_faded_in_stream_store_and_object_alike(store: Store) -> None:
    loud = "A word in the middle of a wave. " * 5
    recording = Recording(store, make_record())
    await recording.take("One.", 0, is_last=False)
    await recording.take(loud, 1, is_last=False)
    await recording.take(loud, 2, is_last=True, cached=True)
    await recording.recorder.finish()
    lease = recording.lease
    faded = await recording.stored_pcm("hash1")
    assert len(faded) == len(spoken(loud))
    assert faded != spoken(loud)
    assert (faded[:2], faded[-2:]) == (b"\0\0", b"\0\0")
    whole = spoken("One.") + GAP + faded + GAP + faded
    assert bytes(lease.published) == whole
    assert lease.finished is not None
    assert wav.decode(await store.get(lease.finished.object)).pcm == whole
    apart = lease.segments[2].hash
    assert apart != "hash2", "what was stored before stays as it is"
    assert await recording.stored_pcm(apart) == faded


async def test_what_is_stored_is_not_stored_again(store: Store) -> None:
    recording = Recording(store, make_record())
    await recording.take("One.", 0, is_last=False, cached=True)
    assert await store.list("segments/") == []
    assert recording.lease.usages == [{"characters": 4, "audio_ms": 140, "cached": 4}]


async def test_a_call_that_was_counted_is_not_counted_again(store: Store) -> None:
    recording = Recording(store, make_record())
    segment = TextSegment(0, 0, 4, "One.")
    result = Spoken("hash0", is_stored=True, is_counted=True)
    item = InFlightSegment(segment, is_last=False, spoken=result)
    item.give(AudioPiece(spoken("One."), PcmShape(RATE), None, {}))
    item.begin(asyncio.sleep(0))
    await recording.recorder.take(item, NO_SOURCE)
    assert recording.lease.usages == [{"characters": 4, "audio_ms": 140}]


async def test_a_job_of_the_batch_lane_publishes_nothing(store: Store) -> None:
    recording = Recording(store, make_record("Hello.", lane=Lane.BATCH))
    await recording.take("Hello.", is_last=True)
    await recording.recorder.finish()
    assert recording.lease.writes == ["finish"]


async def test_replayed_segments_go_into_the_object_only(store: Store) -> None:
    done = StoredSegment(0, 0, len(spoken("One.") + GAP), 0, 4, "hash0")

    async def recall(segment: StoredSegment) -> bytes:
        return spoken("One.") + GAP

    recording = Recording(store, make_record(rate=RATE, claims=2), done=(done,), recall=recall)
    await recording.recorder.replay()
    recording.lease.published += bytes(done.end)  # an earlier attempt's
    await recording.take("Two.", 1, is_last=True)
    await recording.recorder.finish()
    finished = recording.lease.finished
    assert finished is not None
    whole = spoken("One.") + GAP + spoken("Two.")
    assert wav.decode(await store.get(finished.object)).pcm == whole
    assert bytes(recording.lease.published[done.end :]) == spoken("Two.")


async def test_a_loudness_is_of_the_object_and_not_of_the_stream(store: Store) -> None:
    record = make_record("One. Two.", form=SpokenForm(loudness=-35.0).encode())
    recording = Recording(store, record)
    await recording.take("One." * 30, is_last=False)
    await recording.take("Two." * 30, 1, is_last=True)
    await recording.recorder.finish()
    lease = recording.lease
    assert lease.finished is not None
    stored = wav.decode(await store.get(lease.finished.object)).pcm
    stream = spoken("One." * 30) + GAP + spoken("Two." * 30)
    assert bytes(lease.published) == stream
    assert await recording.stored_pcm("hash0") == spoken("One." * 30)
    assert len(stored) == len(stream)
    assert lease.gain is not None
    meter = LoudnessMeter(RATE)
    meter.feed(bytes(stored))
    loudness, true_peak = meter.finish()
    assert loudness == pytest.approx(-35.0, abs=0.3)
    assert true_peak <= TRUE_PEAK_DB


async def test_the_timeline_of_a_session_has_the_text_that_was_pushed(store: Store) -> None:
    recording = Recording(store, make_record("", lane="session"))
    recording.lease.pushed = "One. Two. "
    await recording.take("One.", 0, is_last=False)
    await recording.take("Two.", 1, is_last=True)
    await recording.recorder.finish()
    assert recording.lease.finished is not None
    timeline = await stored_timeline(store, "default", "job")
    assert timeline is not None
    assert (timeline.text, timeline.sample_rate) == ("One. Two. ", RATE)
    assert list(timeline.segments) == recording.lease.segments


async def test_objects_of_earlier_attempts_are_swept(store: Store) -> None:
    old = layout.audio_object("default", "job", "boot:0", "wav")
    await store.put(old, b"old", media_type="audio/wav")
    recording = Recording(store, make_record("Hello.", claims=2))
    await recording.take("Hello.", is_last=True)
    await recording.recorder.finish()
    assert recording.lease.finished is not None
    assert await store.list("audio/") == [recording.lease.finished.object]
    assert await recording.stored_pcm("hash0") == spoken("Hello.")


async def test_a_segment_can_be_read_while_earlier_attempts_are_swept(tmp_path: Path) -> None:
    """Else another job with the same text, which waits for it, pays for it again."""

    class Watched(FolderStore):
        found: ClassVar[list[bool]] = []

        def _sweep(self, prefix: str, keep: str | None) -> int:
            self._look()
            swept = super()._sweep(prefix, keep)
            self._look()
            return swept

        def _delete(self, key: str) -> None:
            super()._delete(key)
            self._look()

        def _look(self) -> None:
            note = json.loads(self._get(layout.segment_object("default", "hash0"), 0, None))
            self.found.append(self._path(note["object"]).exists())

    store = Watched(tmp_path)
    old = layout.audio_object("default", "job", "boot:0", "wav")
    await store.put(old, wav.encode(spoken("Hello."), RATE), media_type="audio/wav")
    await SegmentStore(store, "default").refer("hash0", old, RATE)
    recording = Recording(store, make_record("Hello.", claims=2))
    await recording.take("Hello.", is_last=True, cached=True)
    await recording.recorder.finish()
    assert len(store.found) >= 3
    assert all(store.found)
    assert old not in await store.list("audio/")
    assert await recording.stored_pcm("hash0") == spoken("Hello.")
    await store.close()


async def test_a_server_that_forgot_is_noticed_at_the_end(store: Store) -> None:
    recording = Recording(store, make_record("Hello."), StubLease(forget_at="finish"))
    await recording.take("Hello.", is_last=True)
    with pytest.raises(Forgotten):
        await recording.recorder.finish()
    assert recording.recorder.ending
    assert not recording.recorded


async def test_a_server_that_forgot_is_noticed_at_a_segment(store: Store) -> None:
    recording = Recording(store, make_record("One. Two."), StubLease(forget_at="segment"))
    with pytest.raises(Forgotten):
        await recording.take("One.", 0, is_last=False)
    assert not recording.recorded


async def test_what_a_lost_job_stored_is_deleted(store: Store) -> None:
    recording = Recording(store, make_record("Hello."), StubLease(lose_at="finish"))
    await recording.take("Hello.", is_last=True)
    with pytest.raises(LeaseLost):
        await recording.recorder.finish()
    await recording.recorder.abort()
    assert len(await store.list("audio/")) == 1
    [kept] = await store.list("audio/")
    await recording.recorder.discard(named=kept, segments=[])
    assert await store.list("audio/") == [kept], "the record of the job that ended names it"
    await recording.recorder.discard(named="audio/another", segments=[])
    assert await store.list("audio/") == []


async def test_an_aborted_recording_leaves_no_object(store: Store) -> None:
    recording = Recording(store, make_record())
    await recording.take("One.", 0, is_last=False)
    await recording.recorder.abort()
    assert await store.list("audio/") == []
    assert await recording.stored_pcm("hash0") == spoken("One.")


async def test_a_text_without_words_is_refused(store: Store) -> None:
    with pytest.raises(EmptyText):
        await Recording(store, make_record("...")).recorder.finish()


class SlowLease(StubLease):
    """A lease whose server answers late that it has recorded a segment."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answered = asyncio.Event(), asyncio.Event()

    async def segment(self, *arguments: Any, **named: Any) -> bool:
        self.asked.set()
        await self.answered.wait()
        return await super().segment(*arguments, **named)


async def test_a_job_cancelled_meanwhile_learns_what_was_recorded(store: Store) -> None:
    """Else its call would be counted a second time, as one that was thrown away."""
    lease = SlowLease()
    recording = Recording(store, make_record("One. Two."), lease)
    taking = asyncio.create_task(recording.take("One.", 0, is_last=False))
    await lease.asked.wait()
    taking.cancel()
    lease.answered.set()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert recording.recorded == ["hash0"]
