"""Decide what follows when a run of a job does not come to its end."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod

from speechfleet.errors import ProviderError, RateLimited, SpeechFleetError
from speechfleet.ledger import Claim, Lease, LeaseLost
from speechfleet.record import Record
from speechfleet.request import Request
from speechfleet.settings import Settings
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.middleware import JobOutcome
from speechfleet_worker.synthesis.admission import Suspended, suspend
from speechfleet_worker.synthesis.backoff import delay_before
from speechfleet_worker.synthesis.failure_report import failure_report
from speechfleet_worker.synthesis.job_run import JobRun, account
from speechfleet_worker.synthesis.metrics import JobCounts
from speechfleet_worker.synthesis.voice_switch import Moved, VoiceSwitch

log = logging.getLogger(__name__)


class FailureHandling(ABC):
    """The part of an `Execution` that ends an attempt: other voice, later attempt, or failure."""

    context: WorkerContext
    lease: Lease
    outcome: JobOutcome
    _settings: Settings
    _switch: VoiceSwitch
    _job_run: JobRun | None
    _counts: JobCounts | None
    _is_elsewhere = False

    @property
    @abstractmethod
    def request(self) -> Request:
        """The request of the job."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the job."""

    @abstractmethod
    async def regain(self) -> Claim | None:
        """Ask for the job again, with the same token; None where it is another's, or ended."""

    async def _suspend(self, record: Record, suspended: Suspended) -> Claim | None:
        """Free the slot until the job may go on, or let another voice go on at once."""
        error = await self._too_long(suspended)
        if error is not None and await self._falls_back(record, error):
            return await self._go_on()
        self.outcome = JobOutcome("suspended")
        with contextlib.suppress(LeaseLost):
            await suspend(self.lease, self.request, suspended)
            self.context.job_delayed.set()
            self.context.job_suspended.set()
        return None

    async def _too_long(self, suspended: Suspended) -> RateLimited | None:
        """Return an error for a pause of the account that a fallback voice need not wait out."""
        if suspended.kind != "rate_limit" or not self._switch.has_voices:
            return None
        wait = await self.context.ledger.rate_limiter.pause(suspended.what)
        if wait <= self._settings.fallback_patience:
            return None
        return RateLimited(f"{suspended.what} is paused for {wait:.0f} s", retry_after=wait)

    async def _falls_back(self, record: Record, error: SpeechFleetError) -> bool:
        """Let the next fallback voice take over, where it can mend the error; else False."""
        run, failures = self._job_run, self._failures_in_a_row(record)
        is_heard = record.audio > 0 or (run is not None and run.is_heard)
        try:
            taken = await self._switch.after(error, record, failures=failures, is_heard=is_heard)
        except (Moved, LeaseLost):
            self._is_elsewhere = taken = True
        if taken and self._counts is not None:
            self._counts.failed(error, again=True)
        return taken

    async def _go_on(self) -> Claim | None:
        """Return the claim with which the next voice goes on; None where that is elsewhere."""
        if self._is_elsewhere:
            self.outcome = JobOutcome("handed_over")
            return None
        return await self.regain()

    def _failures_in_a_row(self, record: Record) -> int:
        """Count the attempts without a new segment, with the one that failed now."""
        return 1 + (0 if self._has_progressed else record.failures)

    @property
    def _has_progressed(self) -> bool:
        return self._job_run is not None and self._job_run.has_progressed

    async def _fail(
        self, record: Record, error: SpeechFleetError, *, final: bool = False
    ) -> Claim | None:
        """End the attempt; ``final``: no other follows. The same answer as `_run_once`."""
        if not final and await self._falls_back(record, error):
            return await self._go_on()
        failures = self._failures_in_a_row(record)
        code, message = failure_report(error, record, self._settings, attempt=failures)
        delay = delay_before(
            failures,
            self._settings,
            error.retry_after if isinstance(error, ProviderError) else None,
        )
        try:
            outcome = await self.lease.fail(
                code, message, retryable=error.retryable, delay=delay, usage={},
                max_attempts=0 if final else self._settings.max_attempts,
                account=account(self.lease.job.namespace, record.model),
                of_account=error.of_account,
            )  # fmt: skip
        except LeaseLost:
            return None
        if outcome == "retry":
            self.context.job_delayed.set()
        if self._counts is not None:
            self._counts.failed(error, again=outcome == "retry")
        self.outcome = JobOutcome("retry" if outcome == "retry" else "failed", code, message)
        log.warning("%s: %s (%s)", code, message, outcome, extra={"job": self.name})
        return None
