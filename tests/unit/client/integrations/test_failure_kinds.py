"""Every error of ours has one kind for the frameworks, whichever class or code it comes with."""

from __future__ import annotations

import pytest

from speechfleet.errors import (
    AuthenticationFailed,
    Conflict,
    EmptyText,
    FirstAudioTimeout,
    FleetFull,
    FleetUnavailable,
    IllegalText,
    IncompleteAudio,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    MisconfiguredError,
    NoCapacity,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
    SpeechFleetError,
    StoreUnavailable,
    TextTooLong,
    UnknownModel,
    UnknownVoice,
)
from speechfleet.integrations.failure_kinds import FailureKind, failure_kind

KINDS: dict[FailureKind, list[SpeechFleetError]] = {
    FailureKind.FLEET: [FleetUnavailable("x"), FleetFull("x"), NoCapacity("x")],
    FailureKind.LATE: [FirstAudioTimeout("x")],
    FailureKind.SPEECH: [
        ProviderUnavailable("x"), ProviderTimeout("x"), IncompleteAudio("x"),
        StoreUnavailable("x"), JobFailed("x", code="worker_lost"), JobFailed("x"),
    ],
    FailureKind.RATE: [RateLimited("x")],
    FailureKind.QUOTA: [QuotaExceeded("x")],
    FailureKind.KEY: [AuthenticationFailed("x")],
    FailureKind.SETUP: [
        UnknownModel("x"), UnknownVoice("x"), MisconfiguredError("x"), Conflict("x"),
        InvalidRequest("x"),
    ],
    FailureKind.TEXT: [EmptyText("x"), IllegalText("x"), TextTooLong("x"), RequestRejected("x")],
    FailureKind.CANCELLED: [JobCancelled("x")],
}  # fmt: skip
PAIRS = [(error, kind) for kind, errors in KINDS.items() for error in errors]


@pytest.mark.parametrize(("error", "kind"), PAIRS, ids=lambda value: getattr(value, "code", value))
def test_an_error_has_its_kind(error: SpeechFleetError, kind: FailureKind) -> None:
    assert failure_kind(error) is kind


@pytest.mark.parametrize(("error", "kind"), PAIRS, ids=lambda value: getattr(value, "code", value))
def test_a_failed_job_has_the_kind_of_what_failed_it(
    error: SpeechFleetError, kind: FailureKind
) -> None:
    if error.code not in ("conflict", "invalid_request"):  # these never fail a running job
        assert failure_kind(JobFailed("x", code=error.code)) is kind


def test_every_kind_occurs() -> None:
    assert set(KINDS) == set(FailureKind)
