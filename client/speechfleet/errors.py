"""Every error that speechfleet raises.

    SpeechFleetError
    ├── InvalidRequest              what was asked cannot be done; mend the request
    │   ├── EmptyText  TextTooLong  IllegalText  IllegalId
    │   ├── UnknownModel  UnknownVoice  UnknownFormat  UnknownOption
    │   ├── Conflict                the id stands for another request
    │   ├── TextDiverged            a session's text does not go on from what was pushed
    │   └── TextComplete            a session takes no more text
    ├── MisconfiguredError          a setting, or something missing on this machine
    │   ├── MissingExtra            a package that an extra installs
    │   └── FolderInUse             another fleet runs on the same data folder
    ├── JobNotFound                 no record under this id
    ├── BatchNotFound               no batch under this id
    ├── BatchStopped                the batch takes no items; carries the code of the cause
    ├── NewerRecord                 a record written by a newer version
    ├── IllegalTransition           the job's state does not allow it
    ├── ResultTimeout               not finished in the time that was given
    ├── NoCapacity                  no worker took the session in time     retryable
    ├── JobFailed                   the job ended FAILED; carries the code of the cause
    ├── JobCancelled                the job ended CANCELLED
    ├── GatewayError                a request over HTTP is not let in; see gateway/failures.py
    ├── FleetUnavailable            Redis cannot be reached, or refuses
    │   └── FleetFull               Redis has no memory left
    ├── StoreError                  the object store
    │   ├── StoreUnavailable  StoreDenied  ObjectMissing  ObjectExists
    └── ProviderError               the provider of the speech
        ├── ProviderUnavailable     transport, 5xx, time-outs           retryable
        ├── RateLimited             429; ``retry_after`` seconds        retryable
        ├── IncompleteAudio         the audio ended early, or was none  retryable
        ├── AuthenticationFailed    the key is missing or refused
        ├── QuotaExceeded           the account has no credit left
        └── RequestRejected         the provider will never speak this request

``code`` is stable and meant for programs; the message is meant for people and says what to
do; ``retryable`` is decided once, where the error is made. No message carries a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

LISTED = 8
"""Names that a message lists where none is near."""


class SpeechFleetError(Exception):
    """The root. ``code``: stable, snake_case. ``retryable``: the same call may succeed later."""

    code: str = "error"
    retryable: bool = False
    of_account: ClassVar[bool] = False
    """Whether every other job of the provider's account would fail of it, too."""

    def __init__(
        self, message: str, *, code: str | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable

    @property
    def message(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(
    kind: type[SpeechFleetError], message: str, state: dict[str, object]
) -> SpeechFleetError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


# --- what was asked -------------------------------------------------------------------------


class InvalidRequest(SpeechFleetError, ValueError):
    """The request cannot be carried out as it is; sending it again will not help."""

    code = "invalid_request"


class EmptyText(InvalidRequest):
    """Nothing to say: the text is empty or white space."""

    code = "empty_text"


class TextTooLong(InvalidRequest):
    """The text is longer than the fleet takes in one job."""

    code = "text_too_long"


class IllegalText(InvalidRequest):
    """The text holds what no provider can speak (lone surrogates, NUL)."""

    code = "illegal_text"


class IllegalId(InvalidRequest):
    """A msg.id has 1 to 256 characters and no control characters."""

    code = "illegal_id"


class _UnknownName(InvalidRequest):
    """A name that is not there; the message lists the nearest that are."""

    what: ClassVar[str] = "name"

    def __init__(self, name: str, known: Iterable[str] = (), *, hint: str = "") -> None:
        known = list(known)
        message = f"unknown {self.what} {name!r}"
        if near := get_close_matches(name, known, n=4, cutoff=0.5):
            message += f"; did you mean {', '.join(near)}?"
        elif known:
            more = ", ..." if len(known) > LISTED else ""
            message += f"; there are {', '.join(sorted(known)[:LISTED])}{more}"
        super().__init__(f"{message} {hint}".rstrip())


class UnknownModel(_UnknownName):
    """No provider or endpoint serves this model name."""

    code = "unknown_model"
    what = "model"


class UnknownVoice(_UnknownName):
    """The model has no such voice."""

    code = "unknown_voice"
    what = "voice"


class UnknownFormat(_UnknownName):
    """Not an audio format that the fleet writes."""

    code = "unknown_format"
    what = "format"


class UnknownOption(_UnknownName):
    """The model takes no such option."""

    code = "unknown_option"
    what = "option"


class Conflict(InvalidRequest):
    """The id is taken by a job with another request (text, model, voice, options or format)."""

    code = "conflict"


class TextDiverged(InvalidRequest):
    """Pushed text must begin with what was pushed before; ``position``: where it does not."""

    code = "text_diverged"

    def __init__(self, held: str, text: str) -> None:
        pairs = enumerate(zip(held, text, strict=False))
        self.position = next((at for at, (a, b) in pairs if a != b), min(len(held), len(text)))
        before, after = held[self.position :], text[self.position :]
        super().__init__(
            f"the text must go on from what was pushed before: at position {self.position} "
            f"there is {before[:20]!r}, not {after[:20]!r}"
        )


class TextComplete(InvalidRequest):
    """The session's text was completed, or the session has ended: open another one."""

    code = "text_complete"


# --- this machine, these settings -----------------------------------------------------------


class MisconfiguredError(SpeechFleetError):
    """A setting is wrong or missing; the message names it."""

    code = "misconfigured"


class MissingExtra(MisconfiguredError):
    """A package is not installed; the message gives the pip command of the extra."""

    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'speechfleet[{extra}]'")


class FolderInUse(MisconfiguredError):
    """Another embedded fleet runs on this data folder; join it, or choose another folder."""

    code = "folder_in_use"


# --- the life of a job ----------------------------------------------------------------------


class JobNotFound(SpeechFleetError, LookupError):
    """No record under this id in this namespace (never submitted, expired, or deleted)."""

    code = "job_not_found"


class BatchNotFound(SpeechFleetError, LookupError):
    """No batch under this id in this namespace (never opened, expired, or deleted)."""

    code = "batch_not_found"


class BatchStopped(SpeechFleetError):
    """The batch was stopped or cancelled: mend the cause and run it again, it goes on."""

    code = "batch_stopped"


class NewerRecord(SpeechFleetError):
    """The record was written by a newer speechfleet than this one; upgrade this side."""

    code = "newer_record"


class IllegalTransition(SpeechFleetError):
    """The job's state does not allow what was asked; the message names both."""

    code = "illegal_transition"


class ResultTimeout(SpeechFleetError, TimeoutError):
    """The job goes on; only the waiting ended."""

    code = "result_timeout"
    retryable = True


class NoCapacity(SpeechFleetError):
    """Every worker that takes sessions was full, or there was none, until the time-out."""

    code = "no_capacity"
    retryable = True


class JobFailed(SpeechFleetError):
    """The job ended FAILED. ``code`` and ``retryable`` are those of the last error."""

    code = "job_failed"


class JobCancelled(SpeechFleetError):
    """The job ended CANCELLED. ``text_end``: code points of the text that were published."""

    code = "cancelled"
    text_end: int = 0


# --- Redis ----------------------------------------------------------------------------------


class FleetUnavailable(SpeechFleetError, ConnectionError):
    """Redis cannot be reached, or refuses to serve."""

    code = "fleet_unavailable"
    retryable = True


class FleetFull(FleetUnavailable):
    """Redis is at ``maxmemory`` under ``noeviction``: nothing new is taken until it has room."""

    code = "fleet_full"


# --- the object store -----------------------------------------------------------------------


class StoreError(SpeechFleetError):
    """The object store did not do what was asked."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """Not reachable, or an error of its own (5xx, throttling, disk full)."""

    code = "store_unavailable"
    retryable = True


class StoreDenied(StoreError):
    """Read-only, bucket missing, or credentials refused: somebody has to mend it."""

    code = "store_denied"


class ObjectMissing(StoreError, LookupError):
    """No object under this key."""

    code = "object_missing"


class ObjectExists(StoreError):
    """A write-once key is written already."""

    code = "object_exists"


# --- providers ------------------------------------------------------------------------------


class ProviderError(SpeechFleetError):
    """A provider's failure, mapped once, by its adapter.

    ``provider_code``: the provider's own word; ``request_id``: its id of the call, for its
    support desk; ``status``: the HTTP status, 0 where there was none; ``retry_after``: seconds
    that the provider asked us to wait, or None.
    """

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        provider_code: str = "",
        request_id: str = "",
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, retryable=retryable)
        self.provider_code = provider_code
        self.request_id = request_id
        self.status = status
        self.retry_after = retry_after


class ProviderUnavailable(ProviderError):
    """Transport failures, 408, 409, 5xx, and our own four time-outs."""

    code = "provider_unavailable"
    retryable = True


class ProviderTimeout(ProviderUnavailable):
    """One of the four time-outs: connect, first audio, silence between chunks, whole call."""

    code = "provider_timeout"


class RateLimited(ProviderError):
    """429 and its like; wait ``retry_after`` seconds."""

    code = "rate_limited"
    retryable = True


class IncompleteAudio(ProviderError):
    """The audio ended early, was not there, or was not what was declared."""

    code = "incomplete_audio"
    retryable = True


class AuthenticationFailed(ProviderError):
    """The key is missing, wrong, or not allowed to do this (401, 403)."""

    code = "authentication_failed"
    of_account = True


class QuotaExceeded(ProviderError):
    """No credit, or the free quota is used up: waiting does not help, paying does."""

    code = "quota_exceeded"
    of_account = True


class RequestRejected(ProviderError):
    """The provider refuses this request for good (400, 404, 422, content rules)."""

    code = "request_rejected"
