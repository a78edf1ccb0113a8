"""Each kind of failure as LiveKit and Pipecat know it; the guide shows the same table."""

from __future__ import annotations

import pytest
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError
from pipecat.utils.errors import ErrorCategory

from speechfleet.errors import JobFailed, SpeechFleetError
from speechfleet.integrations.failure_kinds import FailureKind
from speechfleet.integrations.livekit import api_error
from speechfleet.integrations.pipecat import error_category
from tests.support.documents import page

ROWS: list[tuple[FailureKind, str, str, type[APIError], int, bool, ErrorCategory]] = [
    (FailureKind.FLEET, "no_capacity", "no fleet, no room in it",
     APIConnectionError, 0, True, ErrorCategory.CONNECTIVITY),
    (FailureKind.LATE, "no_audio_in_time", "no first audio in time",
     APITimeoutError, 0, True, ErrorCategory.CONNECTIVITY),
    (FailureKind.SPEECH, "worker_lost", "the provider, a worker or the store, again and again",
     APIStatusError, 503, True, ErrorCategory.SERVER),
    (FailureKind.RATE, "rate_limited", "too many calls for the account",
     APIStatusError, 429, True, ErrorCategory.RATE_LIMIT),
    (FailureKind.QUOTA, "quota_exceeded", "no credit left",
     APIStatusError, 402, False, ErrorCategory.QUOTA),
    (FailureKind.KEY, "authentication_failed", "the key is wrong",
     APIStatusError, 401, False, ErrorCategory.AUTHENTICATION),
    (FailureKind.SETUP, "unknown_voice", "the model, the voice, an option or a setting is wrong",
     APIStatusError, 400, False, ErrorCategory.INVALID_REQUEST),
    (FailureKind.TEXT, "illegal_text", "this text cannot be spoken",
     APIStatusError, 400, False, ErrorCategory.APPLICATION),
]  # fmt: skip


def failure(code: str) -> SpeechFleetError:
    return JobFailed("what went wrong", code=code)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_failure_is_what_the_frameworks_know(
    row: tuple[FailureKind, str, str, type[APIError], int, bool, ErrorCategory],
) -> None:
    _, code, words, kind, status, retryable, category = row
    error = api_error(failure(code), "an-id")
    assert type(error) is kind
    assert getattr(error, "status_code", 0) == status
    assert error.retryable is retryable
    assert error.message == f"{code}: what went wrong"
    assert error_category(failure(code)) is category
    shown = f"`{kind.__name__}` {status or ''}".rstrip()
    line = f"| {words} | {shown} | `{category.name}` |"
    assert line in page("guides/voice-agents.md")


def test_speech_that_somebody_stopped_ends_quietly() -> None:
    error = api_error(failure("cancelled"))
    assert isinstance(error, APIStatusError)
    assert error.status_code == 499, "LiveKit raises nothing and tries nothing again"


def test_every_kind_has_a_row() -> None:
    assert {row[0] for row in ROWS} == set(FailureKind) - {FailureKind.CANCELLED}
