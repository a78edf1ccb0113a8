"""Following one job's chunk stream: live, late, again, or after it has expired."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from speechfleet import keys, wav
from speechfleet.chunks import (
    Accumulator,
    AudioEntry,
    Cancelled,
    Chunk,
    Entry,
    Failed,
    Finished,
    Gap,
    Rewind,
    SegmentEntry,
    Started,
    Terminal,
)
from speechfleet.errors import JobCancelled, JobFailed, JobNotFound, StoreError
from speechfleet.jobs import Record, State
from speechfleet.keys import JobKeys
from speechfleet.ledger import Hub, Jobs
from speechfleet.ledger.hub import Batch
from speechfleet.store import Store

STORE_READ = 1 << 20
"""Bytes of a finished object that are read at a time."""
_HEADER = {"wav": wav.HEADER_BYTES, "pcm": 0}
LOOK_AFTER = 2.0
"""Seconds without an entry after which the record, the truth, is asked."""


class EntryReader:
    """The entries of one job, an epoch at a time. ``resubmit`` is called where the record is
    gone: only who submitted a job can bring it back."""

    def __init__(
        self, jobs: Jobs, hub: Hub, job: JobKeys, resubmit: Callable[[], Awaitable[bool]]
    ) -> None:
        self._jobs = jobs
        self._hub = hub
        self._job = job
        self._resubmit = resubmit

    async def record(self) -> Record:
        """Raises JobNotFound."""
        record = await self._jobs.find(*self._id)
        if record is None and await self._resubmit():
            record = await self._jobs.find(*self._id)
        if record is None:
            raise JobNotFound(f"job {self._job.id!r} is gone: expired, or deleted")
        return record

    async def entries(
        self, record: Record, after: str = "0"
    ) -> AsyncGenerator[tuple[str, Entry], None]:
        """The entries of the record's epoch that follow the id ``after``, each with its id.

        Ends after the terminal one; without one where another epoch began. Of a stream that
        has expired the terminal entry alone is known.
        """
        epoch = record.epoch
        if record.state.terminal and not await self._jobs.entries(*self._id, epoch, count=1):
            yield after, _terminal(record)
            return
        async with self._hub.subscribe(self._job.stream(epoch), after) as subscription:
            while record.epoch == epoch:
                batch = await subscription.next(LOOK_AFTER)
                if not batch:
                    record = await self.record()
                    batch = await self._missed(record, epoch, subscription.after)
                for id, entry in batch:
                    if entry is not None:
                        yield id, entry
                        if isinstance(entry, Terminal):
                            return

    async def _missed(self, record: Record, epoch: int, after: str) -> Batch:
        """What an ended job's stream holds past ``after``; at least the terminal entry."""
        if record.epoch != epoch or not record.state.terminal:
            return []
        late = await self._jobs.entries(*self._id, epoch, after)
        return late or [(after, _terminal(record))]

    @property
    def _id(self) -> tuple[str, str]:
        return self._job.namespace, self._job.id


class StreamReader:
    """Chunks of one job, from the first byte to the terminal entry.

    What the stream no longer holds (it is a window) comes from the store. ``resubmit``: as in
    `EntryReader`.
    """

    def __init__(
        self,
        jobs: Jobs,
        hub: Hub,
        store: Callable[[], Store],
        job: JobKeys,
        *,
        accumulate: bool,
        linear: bool,
        resubmit: Callable[[], Awaitable[bool]],
    ) -> None:
        self._jobs = jobs
        self._source = EntryReader(jobs, hub, job, resubmit)
        self._store = store
        self._job = job
        self._accumulator = Accumulator(accumulate=accumulate, linear=linear)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Raises JobFailed or JobCancelled after the audio that there was."""
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
        reach = entry.offset if isinstance(entry, (AudioEntry, SegmentEntry)) else 0
        if isinstance(entry, Finished):
            reach = entry.bytes
        if reach > self._accumulator.position:
            async for chunk in self._fill(reach, epoch):
                yield chunk
        try:
            chunk_ = self._accumulator.feed(entry)
        except Gap as gap:
            raise StoreError(f"job {self._job.id!r}: {gap}, neither streamed nor stored") from None
        if chunk_ is not None:
            yield chunk_

    async def _fill(self, reach: int, epoch: int) -> AsyncGenerator[Chunk, None]:
        """Audio up to ``reach`` from the store."""
        record = await self._source.record()
        if not self._accumulator.sample_rate:
            self._accumulator.feed(_started(record))
        stored = self._stored_object(record) or self._stored_segments(epoch, reach)
        async with aclosing(stored) as parts:
            async for at, pcm in parts:
                entry = AudioEntry(at, at + len(pcm), pcm)
                if chunk := self._accumulator.feed(entry):
                    yield chunk
                if self._accumulator.position >= reach:
                    return

    def _stored_object(self, record: Record) -> AsyncGenerator[tuple[int, bytes], None] | None:
        """The finished object, from where the accumulator is, if it holds plain samples."""
        if record.state is not State.SUCCEEDED or record.request.format not in _HEADER:
            return None
        return self._object(record.object, _HEADER[record.request.format], record.audio)

    async def _object(
        self, key: str, header: int, size: int
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        for at in range(self._accumulator.position, size, STORE_READ):
            start, end = header + at, header + min(at + STORE_READ, size)
            yield at, await self._store().get(key, start, end)

    async def _stored_segments(
        self, epoch: int, reach: int
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        for segment in await self._jobs.segments(*self._id, epoch):
            position = self._accumulator.position
            if segment.start <= position < min(segment.end, reach):
                stored = await read_segment(self._store(), self._job.namespace, segment.hash)
                size = segment.end - segment.start
                pcm = bytes(stored.pcm)[:size].ljust(size, b"\0")
                yield position, pcm[position - segment.start :]

    @property
    def _id(self) -> tuple[str, str]:
        return self._job.namespace, self._job.id


async def read_segment(store: Store, namespace: str, hash: str) -> wav.Wav:
    """A stored segment's audio. Raises ObjectMissing.

    It is a WAV object, or, where a job of one segment holds it already, a note that says where.
    """
    data = await store.get(keys.segment_object(namespace, hash))
    if data[:1] != b"{":
        return wav.decode(data)
    note: dict[str, Any] = json.loads(data)
    pcm = await _pcm_object(store, note["object"])
    return wav.Wav(pcm, note["sample_rate"], 1, tuple(map(tuple, note.get("words", ()))))


async def _pcm_object(store: Store, key: str) -> bytes:
    data = await store.get(key)
    return bytes(wav.decode(data).pcm) if data[:4] == b"RIFF" else data


def _started(record: Record) -> Started:
    rate = record.sample_rate
    return Started(
        attempt=record.claims,
        worker=record.boot,
        model=record.fields.get("model", ""),
        voice=record.fields.get("voice", ""),
        media_type=f"audio/pcm;rate={rate}",
        sample_rate=rate,
    )


def _terminal(record: Record) -> Terminal:
    """The terminal entry that the record stands for."""
    get = record.fields.get
    match record.state:
        case State.SUCCEEDED:
            return Finished(
                record.audio,
                int(get("duration_ms", "0")),
                record.object,
                get("media_type", ""),
                json.dumps(record.usage),
            )
        case State.FAILED:
            return Failed(get("code", ""), get("message", ""), get("retryable") == "1")
        case _:
            return Cancelled(get("message", ""), int(get("text_end", "0")))


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
    """JobFailed or JobCancelled, as a record that has ended says."""
    _raise_unless_finished(_terminal(record))
