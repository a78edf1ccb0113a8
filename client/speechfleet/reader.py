"""Readers of one job's chunk stream: live, late, again, or after it has expired."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Sequence
from contextlib import aclosing, suppress

from speechfleet.accumulator import Accumulator, Gap
from speechfleet.audio import wav
from speechfleet.chunks import (
    AudioEntry,
    Cancelled,
    Chunk,
    Entry,
    Failed,
    Finished,
    MarkEntry,
    Rewind,
    SegmentEntry,
    Started,
    Terminal,
    WordsEntry,
)
from speechfleet.errors import (
    FleetUnavailable,
    JobCancelled,
    JobFailed,
    JobNotFound,
    StoreError,
)
from speechfleet.ledger import Jobs, Streams
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lost_tail import MAX_SEARCHED
from speechfleet.ledger.streams import Batch, Subscription
from speechfleet.lifecycle import State
from speechfleet.record import Record, StoredSegment
from speechfleet.segment_store import SegmentStore, read_segment
from speechfleet.store import Store
from speechfleet.word_places import words_entry

STORE_READ_BYTES = 1 << 20
"""Bytes of a finished object that are read at a time."""
READS_AT_ONCE = 8
"""Segments whose words are read at a time."""
_AT_AN_OFFSET = (MarkEntry, AudioEntry, SegmentEntry)
_HEADER = {"wav": wav.HEADER_BYTES, "pcm": 0}
LOOK_AFTER_S = 2.0
"""Seconds without an entry after which the reader looks at the record."""


class EntryReader:
    """Reads the entries of one job, an epoch at a time.

    ``resubmit`` is called where the record is gone: only the client that submitted a job can
    bring it back.
    """

    def __init__(
        self, jobs: Jobs, streams: Streams, job: JobKeys, resubmit: Callable[[], Awaitable[bool]]
    ) -> None:
        self._jobs = jobs
        self._streams = streams
        self._job = job
        self._resubmit = resubmit

    async def record(self) -> Record:
        """Read the record; submit the job again where Redis lost it. Raises JobNotFound."""
        record = await self._jobs.find(*self._id)
        if record is None and await self._resubmit():
            record = await self._jobs.find(*self._id)
        if record is None:
            raise JobNotFound(f"job {self._job.id!r} is gone: expired, or deleted")
        return record

    async def entries(
        self, record: Record, after: str = "0"
    ) -> AsyncGenerator[tuple[str, Entry], None]:
        """Yield the entries of the record's epoch behind the id ``after``, each with its id.

        Ends after the terminal entry, or without one where another epoch began. A stream that
        has expired gives its terminal entry alone.
        """
        epoch = record.epoch
        if record.state.terminal and not await self._jobs.entries(*self._id, epoch, count=1):
            yield after, _terminal(record)
            return
        delivered: deque[str] = deque([after], MAX_SEARCHED)
        async with self._streams.subscribe(self._job.stream(epoch), after) as subscription:
            audio = record.audio
            while record.epoch == epoch:
                batch = await subscription.next(LOOK_AFTER_S)
                if not batch:
                    with suppress(FleetUnavailable):  # the subscription says when to give up
                        record, before = await self.record(), audio
                        audio = record.audio
                        if record.state.terminal or audio != before:
                            batch = await self._missed(record, epoch, subscription, delivered)
                for id, entry in batch:
                    delivered.append(id)
                    if entry is not None:
                        yield id, entry
                        if isinstance(entry, Terminal):
                            return

    async def _missed(
        self, record: Record, epoch: int, subscription: Subscription, delivered: Container[str]
    ) -> Batch:
        """Fetch what the stream holds and nobody delivered; of an ended job at least its end.

        Where the stream has lost its tail, the subscription goes back to what is left of it.
        """
        if record.epoch != epoch:
            return []
        late = await self._jobs.entries(*self._id, epoch, subscription.after)
        if late:
            subscription.missed(late)
            return await subscription.next(0)
        if record.state.terminal:
            return [(subscription.after, _terminal(record))]
        key = self._job.stream(epoch)
        after = await self._streams.surviving(key, subscription.after, delivered)
        if after is not None:
            subscription.go_back(after)
        return []

    @property
    def _id(self) -> tuple[str, str]:
        return self._job.namespace, self._job.id


class StreamReader:
    """Reads the chunks of one job, from the first byte to the terminal entry.

    The stream is a window: audio that it no longer holds comes from the store. ``resubmit``: as
    in `EntryReader`.
    """

    def __init__(
        self,
        jobs: Jobs,
        streams: Streams,
        store: Callable[[], Store],
        job: JobKeys,
        *,
        accumulate: bool,
        linear: bool,
        resubmit: Callable[[], Awaitable[bool]],
    ) -> None:
        self._jobs = jobs
        self._source = EntryReader(jobs, streams, job, resubmit)
        self._store = store
        self._job = job
        self._accumulator = Accumulator(accumulate=accumulate, linear=linear)
        self._waits_for_segment = False

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks; raises JobFailed or JobCancelled after the audio that there was."""
        accumulator = self._accumulator
        record = await self._source.record()
        while True:
            epoch = record.epoch
            async with aclosing(self._source.entries(record)) as entries:
                async for _, entry in entries:
                    async for chunk in self._take(entry, epoch):
                        if accumulator.terminal is not None:
                            _raise_unless_finished(accumulator.terminal)
                        yield chunk
                    if accumulator.terminal is not None:
                        return
            record = await self._source.record()
            if chunk_ := accumulator.feed(Rewind(0, record.claims, "a new epoch")):
                yield chunk_

    async def _take(self, entry: Entry, epoch: int) -> AsyncGenerator[Chunk, None]:
        reach = entry.offset if isinstance(entry, _AT_AN_OFFSET) else 0
        if isinstance(entry, Finished):
            reach = entry.bytes
        waits = self._waits_for_segment and isinstance(entry, AudioEntry)
        if reach > self._accumulator.position and not waits:
            async for chunk in self._fill(reach, epoch):
                yield chunk
        self._waits_for_segment = self._accumulator.position < reach
        if self._waits_for_segment:
            if isinstance(entry, Finished):
                gap = Gap(self._accumulator.position, reach)
                raise StoreError(f"job {self._job.id!r}: {gap}, neither streamed nor stored")
            if isinstance(entry, AudioEntry):
                # The stream has dropped what comes before; it will be read from the store as
                # soon as its segment is there.
                return
        if (chunk_ := self._accumulator.feed(entry)) is not None:
            yield chunk_

    async def _fill(self, reach: int, epoch: int) -> AsyncGenerator[Chunk, None]:
        """Yield audio from the store, up to the offset ``reach`` or as far as it is stored."""
        record = await self._source.record()
        if not self._accumulator.sample_rate:
            self._accumulator.feed(_started(record))
        segments = await self._jobs.segments(*self._id, epoch)
        if record.state is State.SUCCEEDED and _holds_stream(record):
            stored = self._stored_object(record, segments)
        else:
            stored = self._stored_segments(record, segments, reach)
        async with aclosing(stored) as parts:
            async for entries in parts:
                for entry in entries:
                    if chunk := self._accumulator.feed(entry):
                        yield chunk
                if self._accumulator.position >= reach:
                    return

    async def _stored_object(
        self, record: Record, segments: Sequence[StoredSegment]
    ) -> AsyncGenerator[list[Entry], None]:
        """Read the finished object from the current position: it holds plain samples."""
        header, size = _HEADER[record.request.format], record.audio
        for at in range(self._accumulator.position, size, STORE_READ_BYTES):
            end = min(at + STORE_READ_BYTES, size)
            marks = [_mark(segment) for segment in segments if at <= segment.start < end]
            pcm, words = await asyncio.gather(
                self._store().get(record.object, header + at, header + end),
                self._words(record, [s for s in segments if at < s.end <= end]),
            )
            yield [*marks, AudioEntry(at, at + len(pcm), pcm), *words]

    async def _words(self, record: Record, segments: Sequence[StoredSegment]) -> list[WordsEntry]:
        """Read the times of segments' words that the provider gave."""
        store = SegmentStore(self._store(), self._job.namespace)
        reading = asyncio.Semaphore(READS_AT_ONCE)

        async def read(segment: StoredSegment) -> WordsEntry | None:
            async with reading:
                words = await store.words(segment.hash)
            return words_entry(words, segment, _written(record, segment))

        found = await asyncio.gather(*map(read, segments))
        return [entry for entry in found if entry is not None]

    async def _stored_segments(
        self, record: Record, segments: Sequence[StoredSegment], reach: int
    ) -> AsyncGenerator[list[Entry], None]:
        for segment in segments:
            position = self._accumulator.position
            if segment.start <= position < min(segment.end, reach):
                stored = await read_segment(self._store(), self._job.namespace, segment.hash)
                size = segment.end - segment.start
                pcm = bytes(stored.pcm)[:size].ljust(size, b"\0")
                audio = AudioEntry(position, segment.end, pcm[position - segment.start :])
                words = words_entry(stored.words, segment, _written(record, segment))
                yield [_mark(segment), audio, *([] if words is None else [words])]

    @property
    def _id(self) -> tuple[str, str]:
        return self._job.namespace, self._job.id


def _holds_stream(record: Record) -> bool:
    """Tell whether the stored object holds the very samples of the stream."""
    return record.request.format in _HEADER and record.request.form.loudness is None


def _started(record: Record) -> Started:
    rate = record.sample_rate
    return Started(
        attempt=record.claims,
        worker=record.boot,
        model=record.model,
        voice=record.voice,
        media_type=f"audio/pcm;rate={rate}",
        sample_rate=rate,
    )


def _written(record: Record, segment: StoredSegment) -> str:
    return record.request.text[segment.text_start : segment.text_end]


def _mark(segment: StoredSegment) -> MarkEntry:
    return MarkEntry(segment.index, segment.start, segment.text_start, segment.text_end)


def _terminal(record: Record) -> Terminal:
    """Make the terminal entry that a record of an ended job stands for."""
    match record.state:
        case State.SUCCEEDED:
            return Finished(
                record.audio,
                record.duration_ms,
                record.object,
                record.media_type,
                json.dumps(record.usage),
            )
        case State.FAILED:
            return Failed(record.code, record.message, record.retryable)
        case _:
            return Cancelled(record.message, record.text_end)


def _raise_unless_finished(terminal: Terminal) -> None:
    match terminal:
        case Failed():
            raise JobFailed(terminal.message, code=terminal.code, retryable=terminal.retryable)
        case Cancelled():
            error = JobCancelled(f"the job was cancelled: {terminal.reason or 'no reason given'}")
            error.text_end = terminal.text_end
            raise error
        case _:
            return


def raise_unless_succeeded(record: Record) -> None:
    """Raise JobFailed or JobCancelled for a job that ended so."""
    _raise_unless_finished(_terminal(record))
