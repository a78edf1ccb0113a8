"""Run one session in the worker that holds it: a job whose text is still being written.

It is synthesized, published, stored and finished as in `execution.py`; only the segments come
from elsewhere. The text is read after each nudge (`Nudges`), and from time to time without one.
A retryable failure of the provider is repaired here, within the session, from the last finished
segment on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from speechfleet.errors import FleetUnavailable, ProviderError, SpeechFleetError
from speechfleet.ledger import Claim, Lease, Workers
from speechfleet.ledger.lease import Written
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Request
from speechfleet.segment_store import segment_hash
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.providers.base import ProviderModel, speaks_as_pushed
from speechfleet_worker.slots import Slot
from speechfleet_worker.synthesis.backoff import delay_in_session
from speechfleet_worker.synthesis.execution import Execution, stay
from speechfleet_worker.synthesis.failure_report import failure_report
from speechfleet_worker.synthesis.job_run import HandOver
from speechfleet_worker.synthesis.look_ahead import SegmentSource, Speak
from speechfleet_worker.synthesis.model_cache import ModelCache, Voice
from speechfleet_worker.synthesis.session_push import SessionPush, check_push_mode
from speechfleet_worker.synthesis.session_sentences import READ_INTERVAL_S, SessionSentences
from speechfleet_worker.synthesis.session_text import SessionText

log = logging.getLogger(__name__)

COLLECT_INTERVAL_S = 0.25
"""Between looks for sessions with new text whose nudge was lost."""


class Nudges:
    """Resumes the sessions of this process that have new text.

    A nudge names one session; then all others that have text by now are asked for, so that a
    worker with many sessions gets no more nudges than it can read. ``holds_sessions`` tells
    whether there are any to resume.
    """

    def __init__(
        self,
        workers: Workers,
        boot: str,
        resume: Callable[[str], None],
        holds_sessions: Callable[[], bool] = lambda: True,
    ) -> None:
        self._workers = workers
        self._boot = boot
        self._resume = resume
        self._holds_sessions = holds_sessions
        self._received = asyncio.Event()

    def take(self, name: str) -> None:
        """Resume the session that a nudge names; on the loop."""
        self._resume(name)
        self._received.set()

    async def run(self) -> None:
        """Resume sessions with new text until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COLLECT_INTERVAL_S):
                    await self._received.wait()
            self._received.clear()
            if self._holds_sessions():
                await self._collect()

    async def _collect(self) -> None:
        with contextlib.suppress(SpeechFleetError):
            for name in await self._workers.nudged(self._boot):
                self._resume(name)


class Session(Execution):
    """Carries one granted claim of a session to its end."""

    def __init__(
        self,
        context: WorkerContext,
        models: ModelCache,
        lease: Lease,
        slot: Slot | None = None,
    ) -> None:
        super().__init__(context, models, lease, slot)
        self._nudged = asyncio.Event()
        self._text: SessionText | None = None
        self._failures = 0

    def nudge(self) -> None:
        """Note that there is more text."""
        self._nudged.set()

    @property
    def request(self) -> Request:
        request = super().request
        if self._text is None:
            return request
        return replace(request, text=self._text.text, open=self._text.open)

    def _when_spoken(self) -> Callable[[], object]:
        """Keep the slot: it bounds the sessions that are open."""
        return stay

    @contextlib.asynccontextmanager
    async def _conversation(self, voice: Voice) -> AsyncGenerator[Voice, None]:
        model = voice.model()
        if not isinstance(model, ProviderModel) or speaks_as_pushed(model):
            yield voice
            return
        async with model.conversation() as first:
            yield replace(voice, first=first)

    def _segments(
        self, voice: Voice, done: list[StoredSegment]
    ) -> tuple[list[StoredSegment], Callable[[Speak], SegmentSource]]:
        self._nudged.set()  # there may be text already
        text = self._text = SessionText(
            self.spoken,
            voice,
            start=done[-1].text_end if done else 0,
            index=len(done),
            cold_start=self._settings.session_cold_start,
        )
        model = voice.first
        if not done and speaks_as_pushed(model):
            check_push_mode(self.request, voice)
            return done, lambda _: SessionPush(
                voice.model(), self._read, text, self._settings.timeouts, self._hash
            )
        return done, lambda speak: SessionSentences(
            self._read, text, speak, self._settings.session_pause
        )

    def _hash(self, text: str) -> str:
        """Return a hash that no other job has: the audio depends on how the text was pushed."""
        return segment_hash(self.lease.job.namespace, self.request, text, self.lease.token)

    async def _read(self, offset: int, within: float) -> Written:
        """Read the text past ``offset``, after a nudge or a while. Raises LeaseLost, HandOver.

        An outage of Redis is waited out here: the model keeps its connection meanwhile.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(within, READ_INTERVAL_S)):
                await self._nudged.wait()
        self._nudged.clear()
        while True:
            if self.context.draining:
                raise HandOver("its worker is draining")
            with contextlib.suppress(FleetUnavailable):
                written = await self.lease.read(offset)
                break
        if written.open:
            await self._end_if_deserted(written)
        return written

    async def _end_if_deserted(self, written: Written) -> None:
        settings, reason = self._settings, ""
        if written.unseen > settings.session_vanished:
            reason = f"its client vanished ({settings.session_vanished:g} s without a sign of it)"
        elif written.unpushed > settings.session_idle:
            reason = f"no new text for {settings.session_idle:g} s"
        if reason:
            job = self.lease.job
            await self.context.ledger.jobs.cancel(job.namespace, job.id, reason)

    def _failures_in_a_row(self, record: Record) -> int:
        return self._failures

    async def _fail(
        self, record: Record, error: SpeechFleetError, *, final: bool = False
    ) -> Claim | None:
        self._failures = 1 + (0 if self._has_progressed else self._failures)
        if await self._falls_back(record, error):
            self._failures = 0
            return await self._go_on()
        if not (isinstance(error, ProviderError) and error.retryable):
            return await super()._fail(record, error, final=True)
        if self._failures >= self._settings.max_attempts:
            return await super()._fail(record, error, final=True)
        report = failure_report(error, record, self._settings)
        log.warning(
            "%s: %s; retrying the session (attempt %d)",
            *report,
            self._failures + 1,
            extra={"job": self.name},
        )
        await asyncio.sleep(delay_in_session(self._failures, self._settings, error.retry_after))
        return await self.regain()
