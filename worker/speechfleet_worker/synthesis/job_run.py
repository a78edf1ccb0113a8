"""Run a job once through its segments: from the last stored one to the terminal transition."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.errors import SpeechFleetError
from speechfleet.ledger import Lease, LeaseLost
from speechfleet.ledger.lease import Place
from speechfleet.lifecycle import State
from speechfleet.names import encode
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Request
from speechfleet.segment_store import SegmentStore
from speechfleet.store import layout
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.middleware import JobInfo, SegmentInfo
from speechfleet_worker.output.audio_object import StoreRetry
from speechfleet_worker.output.publisher import Forgotten
from speechfleet_worker.synthesis.admission import Admission, HoldSlot
from speechfleet_worker.synthesis.checkpoints import FinishedSegment, SegmentRecord
from speechfleet_worker.synthesis.leftovers import Leftovers, run_to_end
from speechfleet_worker.synthesis.look_ahead import InFlightSegment, SegmentSource, Speak
from speechfleet_worker.synthesis.metrics import JobCounts
from speechfleet_worker.synthesis.model_cache import Voice
from speechfleet_worker.synthesis.recorder import AudioRecorder, Destination
from speechfleet_worker.synthesis.segment_saver import SegmentSaver
from speechfleet_worker.synthesis.segment_synthesizer import SegmentSynthesizer

log = logging.getLogger(__name__)

SLOWER_SEGMENT = 1.5
"""The next segment may take this many times as long as the last one did."""


class HandOver(Exception):
    """The job leaves this worker here: another run goes on with the next segment.

    ``reason``: for the job's history; ``place``: where the job waits in its queue.
    """

    def __init__(self, reason: str, place: Place = "head") -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


def account(namespace: str, model: str) -> str:
    """Name the account that usage is summed up for, as a key's tail."""
    return f"{encode(namespace)}:{encode(model)}"


class JobRun:
    """Runs a job once, and cleans up behind it.

    ``voice_of`` builds the voice of a segment that is not spoken by ``voice``. ``done``:
    segments that earlier runs stored. ``hold_slot`` is awaited before a provider is called; it may
    raise HandOver. ``on_spoken`` is called when the provider has spoken all of it, and only
    storing is left. Leaves nothing half-written, however it ends.
    """

    def __init__(
        self,
        context: WorkerContext,
        lease: Lease,
        record: Record,
        voice: Voice,
        voice_of: Callable[[Request], Voice],
        *,
        done: Sequence[StoredSegment],
        counts: JobCounts,
        job: JobInfo,
        hold_slot: HoldSlot,
        on_spoken: Callable[[], object],
    ) -> None:
        self._context = context
        self._lease = lease
        self._record = record
        self._done = done
        self._job = job
        self._queue = record.queue
        self._gives_way = False
        self._current: InFlightSegment | None = None
        settings, capabilities = context.settings, voice.capabilities
        payer = account(record.namespace, record.request.model)
        retry = StoreRetry(settings.store_patience)
        segments = self._segments = SegmentStore(context.store, record.namespace)
        self._saver = SegmentSaver(segments, retry, lease)
        self._admission = Admission(
            context.ledger.rate_limiter,
            context.ledger.queues,
            lease,
            record,
            capabilities,
            len(done),
            context.ledger.breakers,
            hold_slot,
        )
        hooks = context.middleware
        self._synthesizer = SegmentSynthesizer(
            record,
            voice,
            voice_of,
            self._admission,
            segments,
            retry,
            settings.timeouts,
            partial(hooks.before_call, job) if hooks else None,
        )
        self._segment_record = SegmentRecord(
            lease,
            self._saver,
            counts,
            account=payer,
            window=settings.stream_window,
            on_recorded=self._admission.recorded,
        )
        self._recorder = AudioRecorder(
            Destination(lease, context.store, retry, self._saver, settings),
            record,
            self._segment_record,
            capabilities,
            counts,
            done,
            self._synthesizer.recall,
            on_spoken,
        )
        self._leftovers = Leftovers(
            lease,
            record,
            segments,
            account=payer,
            unit_count=capabilities.count,
            counts=counts,
        )

    @property
    def ending(self) -> bool:
        """Tell whether the terminal transition was requested, and may have happened."""
        return self._recorder.ending

    @property
    def is_heard(self) -> bool:
        """Tell whether audio of the job was handed out, or recorded."""
        return self._recorder.is_heard

    @property
    def has_progressed(self) -> bool:
        """Tell whether this run recorded a segment."""
        return bool(self._segment_record.recorded)

    async def run(self, segments: Callable[[Speak], SegmentSource]) -> None:
        """Speak the segments to the job's end. Raises what ends the run before."""
        source = segments(self._synthesizer.synthesize)
        try:
            if self._record.takes:
                await self._keep_takes()
            async with source:
                if self._done:
                    await self._recorder.replay()
                async for item in source:
                    await self._take(item, source)
            if self._gives_way:
                raise HandOver("it gave way to a job that waited", "front")
            await self._recorder.finish()
        except BaseException as error:
            is_ours = not isinstance(error, LeaseLost | Forgotten)
            await run_to_end(self._leave(source, is_ours=is_ours))
            raise
        if self._admission.holds_claims:  # of segments that were found stored after all
            await run_to_end(self._admission.close())

    async def _keep_takes(self) -> None:
        """Keep the audio of earlier takes out of the objects of earlier epochs: those go."""
        jobs, job = self._context.ledger.jobs, self._lease.job
        objects = layout.objects_of(job.namespace, job.id)
        for epoch in range(1, self._record.epoch):
            segments = await jobs.segments(job.namespace, job.id, epoch)
            if len(segments) == 1:
                await self._segments.detach(segments[0].hash, objects)

    async def discard(self) -> None:
        """Delete what this run stored and no record names; the lease is lost for good."""
        jobs, job = self._context.ledger.jobs, self._lease.job
        record = await jobs.find(job.namespace, job.id)
        if record is None:
            await self._recorder.discard(named="", segments=[])
        else:
            segments = await jobs.segments(job.namespace, job.id, record.epoch)
            await self._recorder.discard(named=record.object, segments=segments)
        if record is None or record.state is State.CANCELLED:
            await self._saver.delete_unnamed()

    async def _take(self, item: InFlightSegment, source: SegmentSource) -> None:
        self._current = item
        began = time.monotonic()
        finished = await self._recorder.take(item, source)
        if self._context.middleware:
            info = _segment_info(item, finished)
            await self._context.middleware.after_segment(self._job, info)
        took = time.monotonic() - began
        if item.is_last:
            self._gives_way = False
            return
        if self._context.grace_left() < SLOWER_SEGMENT * took:
            raise HandOver("its worker is draining")
        if not self._gives_way and await self._should_give_way():
            # What is being spoken ahead was paid for: the run ends behind it.
            self._gives_way = True
            source.close()

    async def _should_give_way(self) -> bool:
        rivals, queues = self._context.slots.rivals(self._queue), self._context.ledger.queues
        return bool(rivals) and await queues.deserve_slot(rivals, self._lease.job)

    def _is_recorded(self, item: InFlightSegment) -> bool:
        return item.segment.index in self._segment_record.recorded

    async def _leave(self, source: SegmentSource, *, is_ours: bool) -> None:
        """Clean up behind a run that ended before its job did."""
        try:
            await self._settle(source, is_ours=is_ours)
        finally:
            try:
                await self._admission.close()
            finally:
                await self._recorder.abort()

    async def _settle(self, source: SegmentSource, *, is_ours: bool) -> None:
        left = source.left
        if self._current is not None and self._current not in left:
            left.append(self._current)
        # Most runs that end early are suspended before they called anybody.
        calls = [item for item in left if item.spoken.is_called and not self._is_recorded(item)]
        if calls:
            keep = is_ours and await self._is_still_ours()
            await self._leftovers.settle(calls, keep=keep)

    async def _is_still_ours(self) -> bool:
        """Ask the record: a cancelled job must leave nothing new behind."""
        try:
            record = await self._context.ledger.jobs.find(
                self._lease.job.namespace, self._lease.job.id
            )
        except SpeechFleetError:
            return False
        return record is not None and record.token == self._lease.token


def _segment_info(item: InFlightSegment, finished: FinishedSegment) -> SegmentInfo:
    samples = (finished.stored.end - finished.stored.start) // BYTES_PER_SAMPLE
    return SegmentInfo(
        index=item.segment.index,
        start=item.segment.start,
        end=item.segment.end,
        text=item.segment.text,
        spoken_text=item.spoken_text,
        duration_s=samples / finished.rate,
        cached=item.spoken.cached,
        request_id=item.spoken.request_id,
        usage=dict(finished.usage),
    )
