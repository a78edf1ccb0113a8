"""The life of one job in one worker: from the granted claim to the terminal transition.

    claim ─▶ replay stored segments into the object ─▶ for each further segment, in order:
             cache or provider ─▶ publish ─▶ store ─▶ record it ─▶ ... ─▶ object ─▶ finish

Whatever is written goes through the lease. When a write finds the lease lost, or the server
found to have forgotten, the execution asks for its job again with its own token (`regain`) and
goes on from the last stored segment; if it is not granted, it stops without another byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from speechfleet.audio.codecs import check_format
from speechfleet.errors import (
    FleetUnavailable,
    JobNotFound,
    SpeechFleetError,
)
from speechfleet.ledger import Claim, Lease, LeaseLost
from speechfleet.observability import logs, tracing
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Request
from speechfleet.takes import Takes
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.middleware import JobInfo, JobOutcome
from speechfleet_worker.output.publisher import Forgotten
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.slots import Slot
from speechfleet_worker.spoken_text import Speaker, spoken_segments
from speechfleet_worker.synthesis.admission import Suspended
from speechfleet_worker.synthesis.failure_handling import FailureHandling
from speechfleet_worker.synthesis.job_run import HandOver, JobRun
from speechfleet_worker.synthesis.leftovers import run_to_end
from speechfleet_worker.synthesis.long_text import (
    off_loop_if_long,
    source_for,
    text_read_at_once,
)
from speechfleet_worker.synthesis.look_ahead import SegmentSource, Speak
from speechfleet_worker.synthesis.metrics import JobCounts
from speechfleet_worker.synthesis.model_cache import ModelCache, Voice
from speechfleet_worker.synthesis.model_driver import foreign
from speechfleet_worker.synthesis.voice_switch import VoiceSwitch

log = logging.getLogger(__name__)

MAX_REGAINS = 20
REDIS_POLL_INTERVAL_S = 1.0
"""Between attempts to claim a job again, once the patience of a single command is over."""


class Execution(FailureHandling):
    """Carry one granted claim to its end. Cancel the task of `run` to stop it at once."""

    def __init__(
        self,
        context: WorkerContext,
        models: ModelCache,
        lease: Lease,
        slot: Slot | None = None,
    ) -> None:
        self.context = context
        self.lease = lease
        self._slot = slot
        self._models = models
        self._settings = context.settings
        self.unwanted = False
        """Set before the task is cancelled because the job was, or is another worker's."""
        self._request: Request | None = None
        self._spoken: Request | None = None
        self._switch = VoiceSwitch(context, models, lease)
        self._takes: Takes = {}
        self._job_run: JobRun | None = None
        self._counts: JobCounts | None = None
        self.outcome = JobOutcome("lost")

    @property
    def request(self) -> Request:
        assert self._request is not None
        return self._request

    @property
    def spoken(self) -> Request:
        """The request as it is spoken: by its own voice, or by a fallback voice."""
        assert self._spoken is not None
        return self._spoken

    async def run(self, claim: Claim) -> None:
        """Run to the job's end, or as far as the lease holds. Raises only cancellation."""
        logs.job.set(self.name)  # of this task, and of those that it starts
        job = job_info(claim)
        try:
            await self._run(claim, job)
        except asyncio.CancelledError:
            self.outcome = JobOutcome("cancelled" if self.unwanted else "handed_over")
            if self.unwanted:
                await run_to_end(self._discard())
            raise
        finally:
            self._switch.close()
            if self.context.middleware:
                await run_to_end(self.context.middleware.after_job(job, self.outcome))

    async def _run(self, claim: Claim, job: JobInfo) -> None:
        for number in range(MAX_REGAINS):
            try:
                regained = await self._run_once(claim, job, is_first=not number)
            except FleetUnavailable as error:
                regained = await self._regain_once_redis_is_back(error)
            if regained is None:
                return
            claim = regained
        await self.lease.hand_over("the server forgets it again and again")

    async def _regain_once_redis_is_back(self, error: FleetUnavailable) -> Claim | None:
        """Wait for Redis and claim the job again; None where it is lost, or the worker leaves.

        An outage is no failed attempt: nothing of it can be written down while it lasts.
        """
        log.warning("%s; the job waits for Redis", error, extra={"job": self.name})
        while not self.context.draining:
            await asyncio.sleep(REDIS_POLL_INTERVAL_S)
            with contextlib.suppress(FleetUnavailable):
                return await self.regain()
        return None

    async def _run_once(self, claim: Claim, job: JobInfo, *, is_first: bool) -> Claim | None:
        """Return None when it is over; else the claim with which to go on."""
        assert claim.record is not None
        record = claim.record
        self._request = record.request
        self._counts = self._counts or JobCounts(self.context.tally, record)
        try:
            with tracing.span(
                "speak", parent=record.request.trace, job=self.name, model=record.request.model,
                worker=self.lease.boot, claim=record.claims,
            ):  # fmt: skip
                if is_first:
                    await self.context.middleware.before_job(job)
                record = await self._switch.begin(record)
                self._spoken = record.request
                self._counts.speaks(record.model)
                await self._speak_all(record, list(claim.segments), self._counts, job)
            self.outcome = JobOutcome("succeeded")
        except (LeaseLost, Forgotten):
            if (regained := await self.regain()) is not None:
                return regained
            log.info("stopped: the job is no longer ours", extra={"job": self.name})
            await run_to_end(self._discard())
        except HandOver as left:
            self.outcome = JobOutcome("handed_over")
            await self.lease.hand_over(left.reason, left.place)
        except Suspended as suspended:
            return await self._suspend(record, suspended)
        except FleetUnavailable:
            raise
        except SpeechFleetError as error:
            return await self._fail(record, error)
        except Exception as error:
            log.exception("an unforeseen error", extra={"job": self.name})
            return await self._fail(record, foreign(error))
        return None

    @property
    def name(self) -> str:
        return self.lease.job.name

    @property
    def ending(self) -> bool:
        """Tell whether the terminal transition was requested, and may have happened."""
        return self._job_run is not None and self._job_run.ending

    async def _discard(self) -> None:
        if self._job_run is None:
            return
        # Where the answer to `finish` was lost, a manifest may name the object by now; what none
        # names is swept by whoever speaks the item.
        if self.ending and self.request.batch:
            return
        try:
            await self._job_run.discard()
        except SpeechFleetError as error:
            log.warning("what a lost job stored stays: %s", error, extra={"job": self.name})

    async def regain(self) -> Claim | None:
        """Ask for the job again, with the same token; None where it is another's, or ended.

        A record that is gone is written again from memory: Redis lost its last second. Not that
        of a batch's item: it goes once its end is written down, and whoever feeds the batch
        sends again what was lost.
        """
        claim = await self.lease.claim()
        if claim.outcome == "gone" and self._request is not None and not self._request.batch:
            job = self.lease.job
            try:
                await self.context.ledger.jobs.submit(
                    job.namespace, job.id, self.request, "claimed"
                )
            except JobNotFound:
                return None
            claim = await self.lease.claim()
        return claim if claim.outcome == "granted" else None

    async def _speak_all(
        self, record: Record, done: list[StoredSegment], counts: JobCounts, job: JobInfo
    ) -> None:
        if self._slot is not None:
            self._slot.resume()
        voice = _checked_voice(self._models, self.spoken)
        self._takes = record.takes
        done, segments = await off_loop_if_long(
            text_read_at_once(self.request, done), partial(self._segments, voice, done)
        )
        start = done[-1].end if done else 0
        if record.audio > start:
            await self.lease.rewind(start, record.claims, "another attempt")
        async with self._conversation(voice) as voice:
            run = JobRun(
                self.context, self.lease, record, voice, self._models.voice,
                done=done, counts=counts, job=job, on_spoken=self._when_spoken(),
                hold_slot=partial(hold_slot, self._slot),
            )  # fmt: skip
            self._job_run = run
            await run.run(segments)

    def _when_spoken(self) -> Callable[[], object]:
        """Return a callable that leaves the slot to another job, once all of this is spoken."""
        # Not a bound method of this execution: the run keeps the callable, and this execution
        # keeps the run. Such a cycle would hold the run's audio until a garbage collection.
        return stay if self._slot is None else self._slot.leave_to_store

    def _conversation(self, voice: Voice) -> AbstractAsyncContextManager[Voice]:
        """Open the voice for one run; the calls of a job have nothing in common."""
        return nullcontext(voice)

    def _segments(
        self, voice: Voice, done: list[StoredSegment]
    ) -> tuple[list[StoredSegment], Callable[[Speak], SegmentSource]]:
        """Return the segments that are done, and a function that speaks the rest."""

        def speaker_of(request: Request) -> Speaker:
            speaks = voice if request is self.spoken else self._models.voice(request)
            return Speaker(speaks.capabilities, speaks.language)

        segments = spoken_segments(self.request, speaker_of, self._takes, self._switch.later)
        done = list(_matching(done, segments, self.request.wire))
        source, ahead = source_for(self.request.text), self._settings.look_ahead
        return done, lambda speak: source(segments, speak, ahead)


def _checked_voice(models: ModelCache, request: Request) -> Voice:
    """Build the voice of a request, and find out what is wrong before a provider is paid."""
    check_format(request.format)
    voice = models.voice(request)
    for name in request.voices:
        if (other := request.with_voice(name)) is not request:
            models.voice(other)
    return voice


def stay() -> None:
    """Do nothing: the job holds its slot, or none, to its end."""


async def hold_slot(slot: Slot | None) -> None:
    """Wait for the slot of a job that was made ready without one. Raises HandOver."""
    if slot is not None and not await slot.hold():
        raise HandOver("no slot came free where it was made ready", "front")


def job_info(claim: Claim) -> JobInfo:
    """Describe a claimed job for hooks."""
    assert claim.record is not None
    record, request = claim.record, claim.record.request
    return JobInfo(
        namespace=record.namespace,
        id=record.id,
        name=request.name,
        model=request.model,
        voice=request.voice,
        lane=str(request.lane),
        format=request.format,
        text=request.text,
        attempt=record.attempts + 1,
        options=dict(request.options),
    )


def _matching(
    done: list[StoredSegment], segments: Iterator[TextSegment], wire: str
) -> Iterator[StoredSegment]:
    """Yield the stored segments, and take them off the front of the text's segments."""
    if wire == "accumulated":
        return
    for stored in done:
        segment = next(segments, None)
        if segment is None or (segment.start, segment.end) != (stored.text_start, stored.text_end):
            raise SpeechFleetError(
                "the text is cut otherwise than when this job began (another version of "
                "speechfleet?): retry the job to begin again",
                code="segments_differ",
            )
        yield stored
