"""Every error that speechfleet raises.

    SpeechFleetError
    ├── InvalidRequest
    │   ├── EmptyText  TextTooLong  IllegalText  IllegalId
    │   ├── UnknownModel  UnknownVoice  UnknownFormat  UnknownOption
    │   └── Conflict  TextDiverged  TextComplete
    ├── MisconfiguredError
    │   └── MissingExtra  MissingCodec  FolderInUse
    ├── JobNotFound  BatchNotFound  BatchStopped  NewerRecord  IllegalTransition
    ├── ResultTimeout  FirstAudioTimeout  NoCapacity  JobFailed  JobCancelled  StreamFull
    ├── FleetUnavailable
    │   └── FleetFull
    ├── StoreError
    │   └── StoreUnavailable  StoreDenied  ObjectMissing  ObjectExists
    └── ProviderError
        ├── RateLimited  IncompleteAudio  AuthenticationFailed  QuotaExceeded  RequestRejected
        └── ProviderUnavailable
            └── ProviderTimeout

The gateway (`GatewayError`), quotas (`NamespaceQuotaExceeded`), the chunk stream and the command
line add their own. ``code`` is stable and meant for programs. The message is meant for people: it
says what is wrong and what to do, and holds no secret. ``retryable`` is decided by the maker.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from speechfleet.provider_values import bounded_delay, printable
from speechfleet.similar_names import similar_models, similar_names, suggestion


class SpeechFleetError(Exception):
    """The root. ``code``: stable, snake_case. ``retryable``: the same call may succeed later."""

    code: str = "error"
    retryable: bool = False
    of_account: ClassVar[bool] = False
    """True where every other job of the provider's account would fail in the same way."""

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


class InvalidRequest(SpeechFleetError, ValueError):
    """The request cannot be carried out as it is; sending it again will not help."""

    code = "invalid_request"


class EmptyText(InvalidRequest):
    """The text is empty or white space."""

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
    """A name that does not exist; the message lists the nearest names that do."""

    what: ClassVar[str] = "name"

    def __init__(self, name: str, known: Iterable[str] = (), *, note: str = "") -> None:
        known = list(known)
        ending = suggestion(known, self.similar(name, known))
        super().__init__(f"unknown {self.what} {name!r}{ending} {note}".rstrip())

    @staticmethod
    def similar(name: str, known: list[str]) -> list[str]:
        """Return the names that were most likely meant."""
        return similar_names(name, known)


class UnknownModel(_UnknownName):
    """No provider or endpoint serves this model name."""

    code = "unknown_model"
    what = "model"

    @staticmethod
    def similar(name: str, known: list[str]) -> list[str]:
        """Return the models that were most likely meant."""
        return similar_models(name, known)


class UnknownVoice(_UnknownName):
    """The model has no such voice."""

    code = "unknown_voice"
    what = "voice"


class UnknownFormat(_UnknownName):
    """The fleet does not write this audio format."""

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


class MisconfiguredError(SpeechFleetError):
    """A setting is wrong or missing; the message names it."""

    code = "misconfigured"


class MissingExtra(MisconfiguredError):
    """A package is not installed; the message gives the pip command of the extra."""

    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'speechfleet[{extra}]'")


class MissingCodec(MisconfiguredError):
    """The installed PyAV cannot write this audio format; the message says what to install."""

    code = "missing_codec"


class FolderInUse(MisconfiguredError):
    """Another embedded fleet runs on this data folder; join it, or choose another folder."""

    code = "folder_in_use"


class JobNotFound(SpeechFleetError, LookupError):
    """No record under this id in this namespace (never submitted, expired, or deleted)."""

    code = "job_not_found"


class BatchNotFound(SpeechFleetError, LookupError):
    """No batch under this id in this namespace (never opened, expired, or deleted)."""

    code = "batch_not_found"


class BatchStopped(SpeechFleetError):
    """The batch was stopped or cancelled: correct the cause and run it again; it resumes."""

    code = "batch_stopped"


class NewerRecord(SpeechFleetError):
    """The record was written by a newer speechfleet than this one; upgrade this side."""

    code = "newer_record"


class IllegalTransition(SpeechFleetError):
    """The job's state does not allow what was asked; the message names both."""

    code = "illegal_transition"


class ResultTimeout(SpeechFleetError, TimeoutError):
    """The job goes on; only the waiting ended. ``reason``: why no worker takes it, or ""."""

    code = "result_timeout"
    retryable = True

    def __init__(self, id: str, timeout: float, reason: str = "") -> None:
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"job {id!r} has not ended within {timeout:g} s{why}; it goes on, ask again"
        )
        self.reason = reason


class FirstAudioTimeout(SpeechFleetError, TimeoutError):
    """No audio came in the time that ``first_audio_timeout`` gave it; the job goes on."""

    code = "no_audio_in_time"
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


class FleetUnavailable(SpeechFleetError, ConnectionError):
    """Redis cannot be reached, or refuses to serve."""

    code = "fleet_unavailable"
    retryable = True


class FleetFull(FleetUnavailable):
    """Redis is at ``maxmemory`` under ``noeviction``: nothing new is taken until it has room."""

    code = "fleet_full"


class StreamFull(SpeechFleetError):
    """The chunk streams hold as much audio as they may, and none of it could be dropped."""

    code = "stream_full"
    retryable = True


class StoreError(SpeechFleetError):
    """The object store did not do what was asked."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The store cannot be reached, or has an error of its own (5xx, throttling, disk full)."""

    code = "store_unavailable"
    retryable = True


class StoreDenied(StoreError):
    """The store refuses: read-only, no such bucket, or wrong credentials."""

    code = "store_denied"


class ObjectMissing(StoreError, LookupError):
    """No object under this key."""

    code = "object_missing"


class ObjectExists(StoreError):
    """A write-once key is written already."""

    code = "object_exists"


class ProviderError(SpeechFleetError):
    """A provider's failure, mapped once, by its adapter.

    ``provider_code``: the provider's own code; ``request_id``: its id of the call, for its
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
        self.provider_code = printable(provider_code)
        self.request_id = printable(request_id)
        self.status = status
        self.retry_after = bounded_delay(retry_after)


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached or has an error of its own: transport, 408, 409, 5xx."""

    code = "provider_unavailable"
    retryable = True


class ProviderTimeout(ProviderUnavailable):
    """One of the four time-outs: connect, first audio, silence between chunks, whole call."""

    code = "provider_timeout"


class RateLimited(ProviderError):
    """The provider got too many calls (429); wait ``retry_after`` seconds."""

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
    """The account has no credit left: waiting does not help, paying does."""

    code = "quota_exceeded"
    of_account = True


class RequestRejected(ProviderError):
    """The provider refuses this request for good (400, 404, 422, content rules)."""

    code = "request_rejected"
