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
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext

from speechfleet import logs, tracing
from speechfleet.errors import JobNotFound, ProviderError, SpeechFleetError
from speechfleet.jobs import Record, Request
from speechfleet.jobs import Segment as StoredSegment
from speechfleet.ledger import Claim, Lease, LeaseLost
from speechfleet_worker.admission import Parked, park
from speechfleet_worker.calling import Caller
from speechfleet_worker.counting import JobCounts
from speechfleet_worker.lookahead import LookAhead, Speak, SpokenAhead
from speechfleet_worker.models import Models, Voice
from speechfleet_worker.process import Process
from speechfleet_worker.publishing import Forgotten
from speechfleet_worker.retrying import delay_before
from speechfleet_worker.segments import Segment, cut
from speechfleet_worker.speaking import foreign, redact
from speechfleet_worker.track import Track, account

log = logging.getLogger(__name__)

MAX_REGAINS = 20
EXPECTED = 1.5
"""The next segment may take this many times as long as the last one did."""


class Execution:
    """One granted claim, carried to its end by `run`. Cancel its task to stop it at once."""

    def __init__(self, process: Process, models: Models, lease: Lease) -> None:
        self.process = process
        self.lease = lease
        self._models = models
        self._settings = process.settings
        self.unwanted = False
        """Set before the task is cancelled because the job was: what it stored is nobody's."""
        self._request: Request | None = None
        self._track: Track | None = None
        self._counts: JobCounts | None = None

    @property
    def request(self) -> Request:
        assert self._request is not None
        return self._request

    async def run(self, claim: Claim) -> None:
        """To the job's end, or as far as the lease holds. Never raises but for cancellation."""
        logs.job.set(self.name)  # of this task, and of those that it starts
        try:
            await self._run(claim)
        except asyncio.CancelledError:
            if self.unwanted and self._track is not None:
                await self._track.discard()
            raise

    async def _run(self, claim: Claim) -> None:
        for _ in range(MAX_REGAINS):
            regained = await self._run_once(claim)
            if regained is None:
                return
            claim = regained
        await self.lease.hand_over("the server forgets it again and again")

    async def _run_once(self, claim: Claim) -> Claim | None:
        """None where it is done with, however; else the claim with which to go on."""
        assert claim.record is not None
        record = claim.record
        self._request = record.request
        self._counts = self._counts or JobCounts(self.process.tally, record)
        try:
            with tracing.span(
                "speak", parent=record.request.trace, job=self.name, model=record.request.model,
                worker=self.lease.boot, claim=record.claims,
            ):  # fmt: skip
                await self._speak_all(record, list(claim.segments), self._counts)
        except (LeaseLost, Forgotten):
            if (regained := await self.regain()) is not None:
                return regained
            log.info("stopped: the job is no longer ours", extra={"job": self.name})
            # Where the answer to `finish` was lost, a manifest may name the object by now; what
            # none names is swept by whoever speaks the item.
            if self._track is not None and not (self.ending and self.request.batch):
                await self._track.discard()
        except HandOver:
            await self.lease.hand_over("its worker is draining")
        except Parked as parked:
            with contextlib.suppress(LeaseLost):
                await park(self.lease, self.request, parked)
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
        """Whether the terminal transition was asked for: the record may name another state."""
        return self._track is not None and self._track.ending

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
                await self.process.jobs.submit(job.namespace, job.id, self.request, "claimed")
            except JobNotFound:
                return None
            claim = await self.lease.claim()
        return claim if claim.outcome == "granted" else None

    async def _speak_all(
        self, record: Record, done: list[StoredSegment], counts: JobCounts
    ) -> None:
        voice = self._models.voice(self.request)
        done, segments = self._segments(voice, done)
        start = done[-1].end if done else 0
        if record.audio > start:
            await self.lease.rewind(start, record.claims, "another attempt")
        async with self._conversation(voice) as voice:
            caller = Caller(self.process, self.lease, record, voice, len(done))
            track = self._track = Track(
                self.process, self.lease, record, caller, done=done, counts=counts
            )
            try:
                async with segments(caller.call) as ahead:
                    if done:
                        await track.replay()
                    async for item in ahead:
                        began = time.monotonic()
                        await track.take(item, ahead)
                        took = time.monotonic() - began
                        if not item.is_last and self.process.grace_left() < EXPECTED * took:
                            raise HandOver
                await track.finish()
            finally:
                await caller.turnstile.close()
                await track.abort()

    def _conversation(self, voice: Voice) -> AbstractAsyncContextManager[Voice]:
        """The voice as one run uses it; a job's calls have nothing in common."""
        return nullcontext(voice)

    def _segments(
        self, voice: Voice, done: list[StoredSegment]
    ) -> tuple[list[StoredSegment], Callable[[Speak], SpokenAhead]]:
        """What is done already, and the rest once it is known how to speak it."""
        segments = cut(
            self.request.text,
            mode=self.request.segment_mode,
            limit=voice.capabilities.input_limit,
            count=voice.capabilities.count,
            language=voice.language,
        )
        done = list(_matching(done, segments, self.request.wire))
        return done, lambda speak: LookAhead(segments, speak, self._settings.look_ahead)

    async def _fail(
        self, record: Record, error: SpeechFleetError, *, final: bool = False
    ) -> Claim | None:
        """End the attempt; ``final``: no other follows. The same answer as `_run_once`."""
        message = redact(error.message)[:1000]
        if isinstance(error, ProviderError):
            told = [f"{error.provider_code}" if error.provider_code else ""]
            told += [f"request id {error.request_id}" if error.request_id else ""]
            message += "".join(f" [{part}]" for part in told if part)
        delay = delay_before(
            record.attempts + 1,
            self._settings,
            error.retry_after if isinstance(error, ProviderError) else None,
        )
        try:
            outcome = await self.lease.fail(
                error.code,
                message,
                retryable=error.retryable,
                max_attempts=0 if final else self._settings.max_attempts,
                delay=delay,
                account=account(self.lease.job.namespace, self.request.model),
                of_account=error.of_account,
                usage={"calls": 1} if isinstance(error, ProviderError) else {},
            )
        except LeaseLost:
            return None
        if self._counts is not None:
            self._counts.failed(error, again=outcome == "retry")
        log.warning("%s: %s (%s)", error.code, message, outcome, extra={"job": self.name})
        return None


class HandOver(Exception):
    """The worker drains: another one goes on with the next segment."""


def _matching(
    done: list[StoredSegment], segments: Iterator[Segment], wire: str
) -> Iterator[StoredSegment]:
    """The stored segments, taken off the front of the cut; they are the same cut's."""
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
