"""The kinds of failure that the frameworks tell apart, and the kind of each of our errors."""

from __future__ import annotations

from enum import StrEnum

from speechfleet.errors import InvalidRequest, SpeechFleetError


class FailureKind(StrEnum):
    """The kind of a failure, by what can be done about it."""

    FLEET = "fleet"
    """The fleet cannot be reached, or has no room: another try may succeed."""
    LATE = "late"
    """The first audio did not come in time."""
    SPEECH = "speech"
    """Something behind the fleet failed, again and again: the provider, a worker, the store."""
    RATE = "rate"
    """The provider got too many calls."""
    QUOTA = "quota"
    """The account has no credit left."""
    KEY = "key"
    """The provider's key is missing or wrong."""
    SETUP = "setup"
    """The model, the voice, an option or a setting is wrong: every text will fail."""
    TEXT = "text"
    """This text cannot be spoken; others can."""
    CANCELLED = "cancelled"
    """Somebody stopped the speech."""


_CODES: dict[FailureKind, tuple[str, ...]] = {
    FailureKind.FLEET: (
        *("fleet_unavailable", "fleet_full", "no_capacity", "stream_full", "job_not_found"),
        *("client_closed", "wrong_loop"),
    ),
    FailureKind.LATE: ("result_timeout", "no_audio_in_time"),
    FailureKind.RATE: ("rate_limited",),
    FailureKind.QUOTA: ("quota_exceeded",),
    FailureKind.KEY: ("authentication_failed",),
    FailureKind.SETUP: (
        *("unknown_model", "unknown_voice", "unknown_option", "unknown_format", "illegal_id"),
        *("not_in_push_mode", "misconfigured", "missing_extra", "folder_in_use", "newer_record"),
    ),
    FailureKind.TEXT: (
        *("empty_text", "text_too_long", "illegal_text", "text_diverged", "text_complete"),
        *("request_rejected", "audio_too_long"),
    ),
    FailureKind.CANCELLED: ("cancelled",),
}
_KIND_OF_CODE = {code: kind for kind, codes in _CODES.items() for code in codes}


def failure_kind(error: SpeechFleetError) -> FailureKind:
    """Return the kind of an error, by its code: of a failed job nothing else is known.

    An invalid request of a code of its own is wrong whatever the text is. All that is left
    failed while it was spoken.
    """
    if error.code in _KIND_OF_CODE:
        return _KIND_OF_CODE[error.code]
    return FailureKind.SETUP if isinstance(error, InvalidRequest) else FailureKind.SPEECH
