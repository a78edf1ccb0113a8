"""Record the audio of one run through a job's segments: stream, segment store, audio object."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.chunks import Finished, Started
from speechfleet.errors import EmptyText, StoreError
from speechfleet.ledger import Lease
from speechfleet.observability import tracing
from speechfleet.record import Record, StoredSegment, in_seconds
from speechfleet.settings import Settings
from speechfleet.store import Store, layout
from speechfleet.word_places import words_entry
from speechfleet_worker.output.audio_object import (
    ObjectInProgress,
    Stored,
    StoreRetry,
    open_audio_object,
)
from speechfleet_worker.output.levelled_object import LevelledObject
from speechfleet_worker.output.publisher import Forgotten, Publisher, open_publisher
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis.checkpoints import (
    Checkpoint,
    FinishedSegment,
    ManySegments,
    OneSegment,
    SegmentRecord,
)
from speechfleet_worker.synthesis.joined_audio import JoinedAudio
from speechfleet_worker.synthesis.leftovers import segment_usage
from speechfleet_worker.synthesis.look_ahead import InFlightSegment, SegmentSource
from speechfleet_worker.synthesis.metrics import JobCounts
from speechfleet_worker.synthesis.model_driver import redact
from speechfleet_worker.synthesis.segment_saver import SegmentSaver
from speechfleet_worker.synthesis.timeline_object import timeline_of

log = logging.getLogger(__name__)

Recall = Callable[[StoredSegment], Awaitable[bytes]]
"""Loads the audio of a stored segment, as long as it is in the stream."""


@dataclass(frozen=True)
class Destination:
    """The places that the audio of one execution goes to."""

    lease: Lease
    store: Store
    retry: StoreRetry
    saver: SegmentSaver
    settings: Settings


class AudioRecorder:
    """Publish, store and record the segments of one run, in order.

    ``done``: segments that an earlier run stored, which listeners have heard already;
    ``on_spoken`` is called when the last segment is spoken.
    """

    def __init__(
        self,
        destination: Destination,
        record: Record,
        segment_record: SegmentRecord,
        capabilities: Capabilities,
        counts: JobCounts,
        done: Sequence[StoredSegment],
        recall: Recall,
        on_spoken: Callable[[], object],
    ) -> None:
        self._to = destination
        self._record = record
        self._request = record.request
        self._segment_record = segment_record
        self._capabilities = capabilities
        self._counts = counts
        self._segments = list(done)
        self._recall = recall
        self._on_spoken = on_spoken
        self._position = done[-1].end if done else 0
        self._joined = JoinedAudio(record)
        self._publisher: Publisher | None = None
        self._begins: TextSegment | None = None
        self._audio: ObjectInProgress | None = None
        self._stored: Stored | None = None
        self._checkpoint: Checkpoint = ManySegments(destination.saver, segment_record)
        self._sums = Counter(record.sums)
        self._speaker = (record.model, record.voice) if record.turns else ()
        self.is_heard = bool(done)
        self._only_text: str | None = None
        self._beside = ""
        self.ending = False
        """The terminal transition was asked for, and may have happened."""

    # --- one segment after the other --------------------------------------------------------

    @property
    def _rate(self) -> int:
        return self._joined.rate

    async def replay(self) -> None:
        """Write the stored segments into the audio object again."""
        async with aclosing(self._stored_audio()) as pieces:
            async for pcm in pieces:
                await self._write_object([pcm])

    async def _stored_audio(self) -> AsyncGenerator[bytes, None]:
        for segment in self._segments:
            yield await self._recall(segment)

    async def take(self, item: InFlightSegment, source: SegmentSource) -> FinishedSegment:
        """Publish a segment as it comes, then store it and record it."""
        parts: list[bytes] = []
        self._begins = item.segment
        async with aclosing(self._joined.pieces(item, source)) as pieces:
            async for pcm in pieces:
                parts.append(pcm)
                await self._publish(pcm)
        if item.is_last:
            self._on_spoken()
        gap = b"" if item.is_last else _silence(self._capabilities.segment_gap, self._rate)
        await self._publish(gap)
        if self._publisher is not None:
            await self._publisher.flush()
        await self._write_object([*parts, gap])
        segment = self._finished(item, parts, sum(map(len, parts)) + len(gap))
        self._segments.append(segment.stored)
        if item.segment.index == 0 and item.is_last and self._is_object_segment:
            self._checkpoint = OneSegment(self._to.saver, self._segment_record, segment)
        await self._checkpoint.keep(segment, self._publisher)
        return segment

    def _finished(
        self, item: InFlightSegment, parts: Sequence[bytes], size: int
    ) -> FinishedSegment:
        stored = StoredSegment(
            index=item.segment.index,
            start=self._position,
            end=self._position + size,
            text_start=item.segment.start,
            text_end=item.segment.end,
            hash=item.spoken.hash,
            request_id=item.spoken.request_id and redact(item.spoken.request_id),
        )
        usage = segment_usage(item, size, self._rate, self._capabilities)
        self._position = stored.end
        self._sums.update(usage)
        words = item.stored_words(self._rate, sum(map(len, parts)))
        self._only_text = words.text if item.segment.index == 0 and item.is_last else None
        entry = None
        if self._request.published:
            entry = words_entry(words, stored, item.segment.written)
        return FinishedSegment(
            stored, parts, self._rate, words, not item.spoken.is_stored, usage, entry,
            item.spoken.by,
        )  # fmt: skip

    async def _publish(self, pcm: bytes) -> None:
        if not self._request.published or not pcm:
            return
        if self._publisher is None:
            self._counts.first_audio()
            self.is_heard = True
            started = _started(self._record, self._to.lease.boot, self._rate)
            self._publisher = open_publisher(
                self._to.settings, self._to.lease, self._request, started, self._position
            )
        if segment := self._begins:
            self._begins = None
            # The text of a session that its provider cuts comes later: it has no mark.
            if segment.end > segment.start:
                self._publisher.mark(segment.index, segment.start, segment.end, *self._speaker)
        await self._publisher.write(pcm)

    @property
    def _is_object_segment(self) -> bool:
        """Tell whether the object holds the audio as it is: then one segment is stored in it."""
        return self._request.format in ("wav", "pcm") and self._request.form.loudness is None

    async def _write_object(self, parts: Sequence[bytes]) -> None:
        if self._audio is None:
            audio = open_audio_object(
                self._to.store, self._to.retry, self._to.lease, self._request, self._rate
            )
            loudness = self._request.form.loudness
            self._audio = (
                audio
                if loudness is None
                else LevelledObject(audio, self._rate, loudness, self._stored_audio)
            )
        await self._audio.write(parts)

    # --- the end ----------------------------------------------------------------------------

    async def finish(self) -> None:
        """Commit the object and make the terminal transition; then sweep earlier attempts'."""
        if self._audio is None:
            raise EmptyText("there is nothing to say: the text holds no letter and no digit")
        with tracing.span("store", format=self._request.format):
            timeline = await timeline_of(
                self._request, self._to.lease, self._rate, self._segments, self._only_text,
                self._audio,
            )  # fmt: skip
            self._beside = "" if timeline is None else timeline.key
            stored = self._stored = await self._checkpoint.commit(self._audio, timeline)
        usage = json.dumps(in_seconds(self._sums))
        end = Finished(self._position, stored.duration_ms, stored.key, stored.media_type, usage)
        self.ending = True
        finish = partial(
            self._to.lease.finish, end, size=stored.bytes, rate=self._rate, gain=stored.gain
        )
        if not await self._checkpoint.end(finish):
            raise Forgotten
        self._counts.finished(self._position if self._request.published else 0)
        if self._record.claims > 1 or self._record.epoch > 1 or self._record.reborn:
            await self._sweep(stored)

    async def _sweep(self, stored: Stored) -> None:
        prefix = layout.objects_of(self._record.namespace, self._record.id)
        await self._checkpoint.keep_from_sweep(stored)
        await self._to.retry(lambda: self._to.store.sweep(prefix, keep=stored.key))

    async def discard(self, *, named: str, segments: Sequence[StoredSegment]) -> None:
        """Delete the object that was stored under a lease that is lost for good.

        ``named``: the object that the record names, if any. It is this run's own object where
        the run has ended the job and only the server's answer did not arrive: that object stays.
        ``segments``: those that the record names. If the audio of one lies in this object alone,
        the object stays as well, for the worker that has the job now.
        """
        is_needed = any(segment.hash in self._checkpoint.in_object for segment in segments)
        if (stored := self._stored) is not None and stored.key != named and not is_needed:
            await self._to.retry(lambda: self._to.store.delete(stored.key))
            await self._to.retry(self._delete_beside)

    async def abort(self) -> None:
        """Leave no unfinished object behind; what was committed stays."""
        audio, self._audio = self._audio, None
        if audio is not None and self._stored is None:
            try:
                await audio.abort()
                await self._delete_beside()
            except StoreError as error:
                log.warning("an unfinished upload stays: %s", error)

    async def _delete_beside(self) -> None:
        if self._beside:
            await self._to.store.delete(self._beside)


def _started(record: Record, boot: str, rate: int) -> Started:
    return Started(
        attempt=record.claims,
        worker=boot,
        model=record.request.model,
        voice=record.request.voice,
        media_type=f"audio/pcm;rate={rate}",
        sample_rate=rate,
    )


def _silence(seconds: float, rate: int) -> bytes:
    return bytes(round(seconds * rate) * BYTES_PER_SAMPLE)
