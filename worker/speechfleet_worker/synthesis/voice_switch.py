"""Let fallback voices speak a job: in this worker, or in one that serves their provider."""

from __future__ import annotations

import logging
from dataclasses import replace

from speechfleet.errors import ProviderError, SpeechFleetError
from speechfleet.fallback import FallbackVoice, Turn, encode_turns
from speechfleet.ledger import Lease, keys
from speechfleet.observability import metrics
from speechfleet.record import Record
from speechfleet.request import Lane, Request
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.slots import Slot
from speechfleet_worker.spoken_text import LaterVoice
from speechfleet_worker.synthesis.fallback import (
    as_spoken,
    is_of_provider,
    later_voices,
    request_by,
    should_switch,
    voices_left,
)
from speechfleet_worker.synthesis.job_run import HandOver
from speechfleet_worker.synthesis.model_cache import ModelCache

log = logging.getLogger(__name__)

BREAKER_OPEN = "breaker_open"
"""Code of a change of voice without an error of the job's own."""


class Moved(HandOver):
    """The job waits in the queue of another provider now, and is no longer this worker's."""

    def __init__(self) -> None:
        super().__init__("another provider speaks on")


class VoiceSwitch:
    """The fallback voices of one job, as long as this worker runs it.

    Asks nothing of Redis for a job that has none. `close` gives back the slot of a voice that
    took over here.
    """

    def __init__(self, context: WorkerContext, models: ModelCache, lease: Lease) -> None:
        self._context = context
        self._settings = context.settings
        self._models = models
        self._lease = lease
        self._slot: Slot | None = None
        self._record: Record | None = None
        self._left: list[FallbackVoice] = []

    @property
    def later(self) -> list[LaterVoice]:
        """The requests of the fallback voices that spoke so far."""
        return later_voices(self._recorded, self._settings)

    @property
    def has_voices(self) -> bool:
        """Tell whether a voice is left that could take over."""
        return bool(self._left)

    @property
    def _recorded(self) -> Record:
        assert self._record is not None
        return self._record

    async def begin(self, record: Record) -> Record:
        """Return the record as the voice speaks it whose turn it is.

        Where the circuit breaker of its provider is open, the next voice takes over. Raises
        Moved, LeaseLost.
        """
        self._record = record
        self._left = self._voices(is_heard=record.audio > 0)
        speaker = as_spoken(record, self._settings)
        if self._left and not await self._is_admitted(speaker.provider):
            reason = ProviderError(f"the circuit breaker of {speaker.provider} is open",
                                   code=BREAKER_OPEN)  # fmt: skip
            if await self._next(reason, speaker):
                return as_spoken(self._recorded, self._settings)
        return speaker

    async def after(
        self, error: SpeechFleetError, speaker: Record, *, failures: int, is_heard: bool
    ) -> bool:
        """Let the next voice take over after an error that it can mend; tell whether one does.

        ``speaker``: the record as it was spoken. Tells the provider's circuit breaker in any
        case. Raises Moved, LeaseLost.
        """
        if not isinstance(error, ProviderError):
            return False
        breakers, is_open = self._context.ledger.breakers, False
        if is_of_provider(error) and len(speaker.request.providers) == 1:
            is_open = await breakers.report_failure(speaker.provider, self._lease.token, error)
        wanted = should_switch(
            error, self._settings, failures=failures, is_heard=is_heard, is_open=is_open
        )
        self._left = self._voices(is_heard=is_heard) if self._record is not None else []
        return bool(self._left) and wanted and await self._next(error, speaker)

    def close(self) -> None:
        """Give back the slot of the voice that took over here."""
        if self._slot is not None:
            self._slot.leave()
            self._slot = None

    def _voices(self, *, is_heard: bool) -> list[FallbackVoice]:
        """Return the voices that may take over now.

        The accumulated wire repeats all audio from its beginning, which the first voice spoke.
        """
        if is_heard and self._recorded.request.wire == "accumulated":
            return []
        return voices_left(self._recorded, self._settings)

    async def _is_admitted(self, provider: str) -> bool:
        return await self._context.ledger.breakers.admit(provider, self._lease.token)

    async def _next(self, error: ProviderError, speaker: Record) -> bool:
        """Let the next voice take over that can speak now.

        A job that would fail without takes one whose breaker is open, too.
        """
        served: list[tuple[FallbackVoice, bool]] = []
        for voice in self._left:
            if (is_here := await self._is_served_here(voice)) is None:
                continue
            if await self._is_admitted(voice.provider):
                await self._take_over(voice, error, speaker, leaves=not is_here)
                return True
            served.append((voice, is_here))
        if served and error.code != BREAKER_OPEN and not error.retryable:
            voice, is_here = served[0]
            await self._take_over(voice, error, speaker, leaves=not is_here)
            return True
        return False

    def _queue_of(self, voice: FallbackVoice) -> str:
        return keys.queue(self._recorded.lane, voice.provider)

    async def _is_served_here(self, voice: FallbackVoice) -> bool | None:
        """Tell whether a voice can speak in this worker, or, False, in another one.

        None where no live worker serves its provider, or it cannot be built here.
        """
        queue, slots = self._queue_of(voice), self._context.slots
        is_session = self._recorded.lane is Lane.SESSION
        if slots.serves(queue) and (is_session or slots.is_open(queue)):
            try:
                self._models.voice(request_by(self._recorded.request, voice, self._settings))
            except SpeechFleetError as error:
                self._warn(f"the fallback voice {voice.model} is passed over: {error}")
                return None
            return True
        workers = await self._context.ledger.workers.workers()
        if any(queue in worker.queues for worker in workers):
            return False
        self._warn(f"the fallback voice {voice.model} is passed over: no live worker serves it")
        return None

    def _warn(self, message: str) -> None:
        log.warning("%s", message, extra={"job": self._lease.job.name})

    async def _take_over(
        self, voice: FallbackVoice, error: ProviderError, speaker: Record, *, leaves: bool
    ) -> None:
        record, queue = self._recorded, self._queue_of(voice)
        named = self._voice_of(record.request, voice)
        reason = f"{error.code}: {voice.model} {named}".rstrip() + f" instead of {speaker.model}"
        first = record.turns[-1].first if record.turns else 0
        while True:
            turns = (*record.turns, Turn(first, voice, named, error.code))
            recorded = await self._lease.fall_back(
                turns, speaker.model, reason, queue, leaves=leaves
            )
            if recorded == first:
                break
            first = recorded
        self._context.tally.add(metrics.FALLBACKS, speaker.provider, voice.provider, error.code)
        self._warn(reason)
        self.close()
        if leaves:
            raise Moved
        fields = {**record.fields, "turns": encode_turns(turns), "failures": "0", "queue": queue}
        self._record = replace(record, fields=fields)
        if record.lane is not Lane.SESSION:
            self._slot = self._context.slots.take(queue)

    def _voice_of(self, request: Request, voice: FallbackVoice) -> str:
        """Return the name of the voice; that of another worker's provider may not be known."""
        try:
            return request_by(request, voice, self._settings).voice
        except SpeechFleetError:
            return voice.voice_for(request.voice, ())
