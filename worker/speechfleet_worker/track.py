"""The audio of one run through a job's segments: onto the stream, into the store, one object."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

from speechfleet import keys, tracing
from speechfleet.audio import Resampler
from speechfleet.chunks import Finished, Started
from speechfleet.errors import EmptyText, StoreError
from speechfleet.jobs import Record, Request, in_seconds
from speechfleet.jobs import Segment as StoredSegment
from speechfleet.ledger import Lease
from speechfleet.tts import BYTES_PER_SAMPLE
from speechfleet_worker.calling import Caller
from speechfleet_worker.counting import JobCounts
from speechfleet_worker.lookahead import Ahead, SpokenAhead
from speechfleet_worker.output import Output, Stored, open_output
from speechfleet_worker.process import Process
from speechfleet_worker.publishing import Forgotten, Publisher, open_publisher
from speechfleet_worker.segment_store import Words, segment_hash

log = logging.getLogger(__name__)


def account(namespace: str, model: str) -> str:
    """Where usage is summed up: namespace and model, as a key's tail."""
    return f"{keys.encode(namespace)}:{keys.encode(model)}"


def started(record: Record, lease: Lease, rate: int) -> Started:
    """The stream's first entry."""
    return Started(
        attempt=record.claims,
        worker=lease.boot,
        model=record.request.model,
        voice=record.request.voice,
        media_type=f"audio/pcm;rate={rate}",
        sample_rate=rate,
    )


class Track:
    """The audio of one run through the segments: stream, segment store and object."""

    def __init__(
        self,
        process: Process,
        lease: Lease,
        record: Record,
        caller: Caller,
        *,
        done: list[StoredSegment],
        counts: JobCounts,
    ) -> None:
        self._process = process
        self._counts = counts
        self._settings = process.settings
        self._request: Request = record.request
        self._lease = lease
        self._record = record
        self._caller = caller
        self._capabilities = caller.voice.capabilities
        self._done = done
        self._position = done[-1].end if done else 0
        self._rate = record.sample_rate
        self._patient = caller.patient
        self._segments = caller.segments
        self._publisher: Publisher | None = None
        self._output: Output | None = None
        self._stored: Stored | None = None
        self._sums = Counter(record.sums)
        self.ending = False
        """The terminal transition was asked for, and may have happened."""
        self._only: tuple[str, Words] | None = None
        """Hash and words of the job's only segment, where the object itself holds it."""
        self._unrecorded: Callable[[], Awaitable[None]] | None = None
        """Records that segment, which is stored."""

    # --- one segment after the other --------------------------------------------------------

    async def replay(self) -> None:
        """Stored segments into the object again; listeners have heard them already."""
        for segment in self._done:
            await self._write_object([await self._caller.recall(segment)])

    async def take(self, item: Ahead, ahead: SpokenAhead) -> None:
        """Publish a segment as it comes, then store it and record it."""
        parts: list[bytes] = []
        resampler: Resampler | None = None
        merged = self._request.wire == "delta"
        async with aclosing(item.audio(merged=merged)) as pieces:
            async for piece in pieces:
                if not self._rate:
                    self._rate = piece.sample_rate
                data = piece.pcm
                if piece.shape != (self._rate, 1):
                    resampler = resampler or Resampler(
                        piece.sample_rate, self._rate, piece.channels
                    )
                    data = resampler.feed(data)
                parts.append(data)
                await self._publish(data)
                ahead.fill()
        if resampler is not None:
            tail = resampler.flush()
            parts.append(tail)
            await self._publish(tail)
        if resampler is not None and item.spoken.cached:
            # What the record names must be at the stream's rate, readers cannot resample.
            item.spoken.hash = segment_hash(
                self._lease.job.namespace, self._request, item.segment.text, f"rate={self._rate}"
            )
        gap = b"" if item.is_last else _silence(self._capabilities.segment_gap, self._rate)
        await self._publish(gap)
        if self._publisher is not None:
            await self._publisher.flush()
        await self._write_object([*parts, gap])
        await self._record_segment(item, parts, len(gap), resampler is not None)

    async def _record_segment(
        self, item: Ahead, parts: list[bytes], gap: int, resampled: bool
    ) -> None:
        spoken, index = item.spoken, item.segment.index
        rate, size = self._rate, sum(map(len, parts)) + gap
        if index == 0 and item.is_last and self._request.format in ("wav", "pcm"):
            # The object is the segment: it is stored once, before anything names it.
            self._only = only = (spoken.hash, spoken.words)
            new = not spoken.cached or resampled
            stored = self._stored = await self._commit(only if new else None)
            if new and not stored.beside:
                await self._refer(stored)
        elif not spoken.cached or resampled:
            pcm = b"".join(parts)
            await self._patient(lambda: self._segments.save(spoken.hash, pcm, rate, spoken.words))
        segment = StoredSegment(
            index=index,
            start=self._position,
            end=self._position + size,
            text_start=item.segment.start,
            text_end=item.segment.end,
            hash=spoken.hash,
            request_id=spoken.request_id,
        )
        usage = _usage(item, self._capabilities.count, size, rate)
        self._position = segment.end
        self._sums.update(usage)
        record = partial(self._record_as_stored, segment, usage)
        if self._stored is None:
            await record()
        else:
            self._unrecorded = record  # `finish` follows at once, and takes it along

    async def _record_as_stored(self, segment: StoredSegment, usage: dict[str, int]) -> None:
        name = account(self._lease.job.namespace, self._request.model)
        window = self._settings.stream_window
        known = await self._lease.segment(segment, self._rate, window, name, usage)
        if not known:
            raise Forgotten
        self._caller.turnstile.recorded(segment.hash)
        self._counts.used(usage)
        if self._publisher is not None:
            self._publisher.checkpoint()

    async def _publish(self, pcm: bytes) -> None:
        if not self._request.published or not pcm:
            return
        if self._publisher is None:
            self._counts.first_audio()
            start = started(self._record, self._lease, self._rate)
            self._publisher = open_publisher(
                self._settings, self._lease, self._request, start, self._position
            )
        await self._publisher.write(pcm)

    async def _write_object(self, parts: Sequence[bytes]) -> None:
        if self._output is None:
            self._output = open_output(
                self._process.store, self._patient, self._lease, self._request, self._rate
            )
        await self._output.write(parts)

    # --- the end ----------------------------------------------------------------------------

    async def finish(self) -> None:
        """Commit the object, then the terminal transition; then sweep what others left."""
        stored = self._stored = self._stored or await self._commit()
        end = Finished(
            self._position,
            stored.duration_ms,
            stored.key,
            stored.media_type,
            json.dumps(in_seconds(self._sums)),
        )
        self.ending = True
        finish = self._lease.finish(end, size=stored.bytes, rate=self._rate)
        if self._unrecorded is None:
            known = await finish
        else:  # one write, in this order
            _, known = await asyncio.gather(self._unrecorded(), finish)
        if not known:
            raise Forgotten
        self._counts.finished(self._position if self._request.published else 0)
        if self._record.claims > 1 or self._record.epoch > 1:
            await self._sweep(stored)

    async def _sweep(self, stored: Stored) -> None:
        """Objects of other attempts and epochs go; a note about one of them follows."""
        job = self._lease.job
        prefix = keys.objects_of(job.namespace, job.id)
        await self._patient(lambda: self._process.store.sweep(prefix, keep=stored.key))
        if self._only is not None:
            await self._refer(stored)

    async def _refer(self, stored: Stored) -> None:
        assert self._only is not None
        hash, words = self._only
        await self._patient(lambda: self._segments.refer(hash, stored.key, self._rate, words))

    async def _commit(self, only: tuple[str, Words] | None = None) -> Stored:
        output = self._output
        if output is None:
            raise EmptyText("there is nothing to say: the text holds no letter and no digit")
        note = only and self._segments.note(only[0], output.key, self._rate, only[1])
        with tracing.span("store", format=self._request.format):
            return await output.commit(note)

    async def discard(self) -> None:
        """The lease is lost for good: an object that was stored under it is nobody's."""
        if self._stored is not None:
            await self._process.store.delete(self._stored.key)

    async def abort(self) -> None:
        """Leave no unfinished object behind; what was committed stays."""
        output, self._output = self._output, None
        if output is not None and self._stored is None:
            try:
                await output.abort()
            except StoreError as error:
                log.warning("an unfinished upload stays: %s", error)


def _silence(seconds: float, rate: int) -> bytes:
    return bytes(round(seconds * rate) * BYTES_PER_SAMPLE)


def _usage(item: Ahead, count: Callable[[str], int], size: int, rate: int) -> dict[str, int]:
    text = item.segment.text
    units = count(text)
    usage = {"characters": len(text), "audio_ms": round(size / BYTES_PER_SAMPLE / rate * 1000)}
    if item.spoken.cached:
        return {**usage, "cached": units}
    usage |= {"billed": units, "calls": 1}
    if item.spoken.usage is not None:
        usage["tokens_in"] = item.spoken.usage.input_tokens
        usage["tokens_out"] = item.spoken.usage.output_tokens
    return usage
