"""Two ways to keep finished segments where a take-over, and later jobs, find them.

A job of several segments saves each in the segment store. The audio object of a job with one
segment in WAV or PCM, not brought to a loudness, holds that segment's audio as it is. So the
segment is stored once, and a note in the segment store says where.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from speechfleet.chunks import WordsEntry
from speechfleet.ledger import Lease
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.record import StoredSegment
from speechfleet.store.base import NewObject
from speechfleet.words import SegmentWords
from speechfleet_worker.output.audio_object import ObjectInProgress, Stored
from speechfleet_worker.output.publisher import Forgotten, Publisher
from speechfleet_worker.synthesis.leftovers import run_to_end
from speechfleet_worker.synthesis.metrics import JobCounts
from speechfleet_worker.synthesis.segment_saver import SegmentSaver

Finish = Callable[[RecordedSegment | None], Awaitable[bool]]
"""Makes the terminal transition, and records the last segment with it if one is given."""


@dataclass(frozen=True)
class FinishedSegment:
    """A segment spoken to its end. ``is_new``: the segment store lacks it."""

    stored: StoredSegment
    pcm: Sequence[bytes]
    rate: int
    words: SegmentWords | None
    is_new: bool
    usage: dict[str, int]
    words_entry: WordsEntry | None = None
    """The words as listeners are told them; None where nobody listens."""
    spoken_by: tuple[str, ...] = ()
    """The models that spoke it, where the job's own leaves that to others."""


class SegmentRecord:
    """Write finished segments into the job's record, in order."""

    def __init__(
        self,
        lease: Lease,
        saver: SegmentSaver,
        counts: JobCounts,
        *,
        account: str,
        window: int,
        on_recorded: Callable[[str], None],
    ) -> None:
        """``on_recorded`` is called with the hash of a segment that the record names."""
        self._lease = lease
        self._saver = saver
        self._counts = counts
        self._account = account
        self._window = window
        self._on_recorded = on_recorded
        self.recorded: set[int] = set()
        """The indices of the segments that this run recorded."""

    async def add(self, segment: FinishedSegment, publisher: Publisher | None) -> None:
        """Record a segment. Raises LeaseLost, Forgotten where the server lacks an earlier one.

        Run it to its end, also where the job is cancelled meanwhile. If it stopped between the
        server's answer and the note of it here, the segment would count as not recorded, and its
        call would be counted a second time.
        """
        if not await self._lease.segment(self._recorded(segment)):
            raise Forgotten
        self._note(segment)
        if publisher is not None:
            publisher.checkpoint()

    async def add_last(self, segment: FinishedSegment, finish: Finish) -> bool:
        """Record a segment with the end of the job; False where the server lacks some audio.

        Run it to its end, as `add`.
        """
        is_known = await finish(self._recorded(segment))
        if is_known:
            self._note(segment)
        return is_known

    def _recorded(self, segment: FinishedSegment) -> RecordedSegment:
        return RecordedSegment(
            segment.stored,
            segment.rate,
            self._window,
            self._account,
            segment.usage,
            segment.words_entry,
            segment.spoken_by,
        )

    def _note(self, segment: FinishedSegment) -> None:
        self._saver.named(segment.stored.hash)
        self.recorded.add(segment.stored.index)
        self._on_recorded(segment.stored.hash)
        self._counts.used(segment.usage)


class Checkpoint(ABC):
    """A way to keep the finished segments of a job.

    ``in_object``: hashes of the segments whose audio is in the audio object, and nowhere else.
    """

    in_object: Collection[str] = ()

    @abstractmethod
    async def keep(self, segment: FinishedSegment, publisher: Publisher | None) -> None:
        """Store a segment and record it, or put that off to `end`."""

    @abstractmethod
    async def commit(self, audio: ObjectInProgress, timeline: NewObject | None) -> Stored:
        """Store the job's audio object, and its timeline if there is one to store."""

    @abstractmethod
    async def end(self, finish: Finish) -> bool:
        """Make the terminal transition; False where the server lacks some audio."""

    @abstractmethod
    async def keep_from_sweep(self, stored: Stored) -> None:
        """Let nothing point to an object of an earlier attempt, which will be deleted."""


class ManySegments(Checkpoint):
    """Save and record each segment as soon as it is published."""

    def __init__(self, saver: SegmentSaver, record: SegmentRecord) -> None:
        self._saver = saver
        self._record = record

    async def keep(self, segment: FinishedSegment, publisher: Publisher | None) -> None:
        if segment.is_new:
            pcm = b"".join(segment.pcm)
            await self._saver.save(segment.stored.hash, pcm, segment.rate, segment.words)
        await run_to_end(self._record.add(segment, publisher))

    async def commit(self, audio: ObjectInProgress, timeline: NewObject | None) -> Stored:
        stored = await audio.commit(timeline)
        if timeline is not None and not stored.beside:
            await self._saver.put(timeline)
        return stored

    async def end(self, finish: Finish) -> bool:
        return await finish(None)

    async def keep_from_sweep(self, stored: Stored) -> None:
        """Do nothing: the segments have objects of their own."""


class OneSegment(Checkpoint):
    """Store the only segment with the audio object, and record it together with the end."""

    def __init__(
        self, saver: SegmentSaver, record: SegmentRecord, segment: FinishedSegment
    ) -> None:
        self._saver = saver
        self._record = record
        self._segment = segment
        self.in_object = [segment.stored.hash]

    async def keep(self, segment: FinishedSegment, publisher: Publisher | None) -> None:
        """Do nothing: that is for the end."""

    async def commit(self, audio: ObjectInProgress, timeline: NewObject | None) -> Stored:
        if timeline is not None:
            await self._saver.put(timeline)
        if not self._segment.is_new:
            return await audio.commit()
        note = self._saver.note(
            self._segment.stored.hash, audio.key, self._segment.rate, self._segment.words
        )
        stored = await audio.commit(note)
        if not stored.beside:
            segment = self._segment
            await self._saver.refer(segment.stored.hash, stored.key, segment.rate, segment.words)
        return stored

    async def end(self, finish: Finish) -> bool:
        return await run_to_end(self._record.add_last(self._segment, finish))

    async def keep_from_sweep(self, stored: Stored) -> None:
        segment = self._segment
        await self._saver.move_note(segment.stored.hash, stored.key, segment.rate, segment.words)
