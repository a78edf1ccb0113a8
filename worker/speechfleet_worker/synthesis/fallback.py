"""The rules for fallback voices: when one takes over, and what it is asked to speak. No I/O."""

from __future__ import annotations

from dataclasses import replace

from speechfleet.errors import (
    AuthenticationFailed,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SpeechFleetError,
)
from speechfleet.fallback import FallbackVoice
from speechfleet.provider_options import OF_EVERY_MODEL, options_of
from speechfleet.record import Record
from speechfleet.request import Request
from speechfleet.settings import Settings
from speechfleet_worker.providers import registry
from speechfleet_worker.spoken_text import LaterVoice

CARRIED_OPTIONS = ("speed", "instructions")
"""Options that mean the same to every provider which has them; no other one is carried over."""
ATTEMPTS_ONCE_HEARD = 2
"""Failed attempts in a row after which a voice that was heard already is replaced."""


def is_of_provider(error: SpeechFleetError) -> bool:
    """Tell whether an error shows the state of the provider, which its circuit breaker counts."""
    return isinstance(error, ProviderUnavailable | QuotaExceeded | AuthenticationFailed)


def should_switch(
    error: SpeechFleetError,
    settings: Settings,
    *,
    failures: int,
    is_heard: bool,
    is_open: bool,
) -> bool:
    """Decide whether another voice should take over after an error.

    ``failures``: attempts that failed in a row, this one included; ``is_heard``: some of the
    job's audio was handed out; ``is_open``: the circuit breaker of the provider is.
    """
    if isinstance(error, RateLimited):
        wait = error.retry_after or 0.0
        return wait > settings.fallback_patience or failures >= settings.max_attempts
    if isinstance(error, ProviderUnavailable):
        # A change of voice is heard: a failure that passes is not worth it.
        return not is_heard or is_open or failures >= ATTEMPTS_ONCE_HEARD
    return is_of_provider(error)


def voices_left(record: Record, settings: Settings) -> list[FallbackVoice]:
    """Return the fallback voices that may still take over a job, in their order."""
    asked = record.request.form.fallback
    voices = list(settings.fallback_of(record.model) if asked is None else asked)
    tried = [turn.by.model for turn in record.turns]
    places = [at for at, voice in enumerate(voices) if voice.model in tried]
    return voices[max(places) + 1 :] if places else voices


def request_by(request: Request, by: FallbackVoice, settings: Settings) -> Request:
    """Return a request as a fallback voice speaks it. Raises UnknownModel, MisconfiguredError."""
    known = registry.capabilities(by.model, settings).voices
    takes = OF_EVERY_MODEL | (options_of(by.model, settings) or frozenset())
    carried = {
        name: request.options[name]
        for name in CARRIED_OPTIONS
        if name in request.options and name in takes
    }
    parts = tuple(
        part._replace(voice=by.voice_for(part.voice, known)) if part.voice else part
        for part in request.form.parts
    )
    return replace(
        request,
        model=by.model,
        voice=by.voice_for(request.voice, known),
        options={**carried, **by.options},
        form=replace(request.form, parts=parts),
    )


def as_spoken(record: Record, settings: Settings) -> Record:
    """Return a record as the voice speaks it whose turn it is. Raises UnknownModel."""
    if not record.turns:
        return record
    request = request_by(record.request, record.turns[-1].by, settings)
    changed = {
        "model": request.model, "voice": request.voice, "options": request.options_json,
        "form": request.form.encode(),
    }  # fmt: skip
    return replace(record, fields={**record.fields, **changed})


def later_voices(record: Record, settings: Settings) -> list[LaterVoice]:
    """Return the requests of the fallback voices that spoke so far. Raises UnknownModel."""
    return [
        LaterVoice(turn.first, request_by(record.request, turn.by, settings))
        for turn in record.turns
    ]
