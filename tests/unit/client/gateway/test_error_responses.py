"""Errors as HTTP answers: a status for each, in OpenAI's form."""

from __future__ import annotations

import pytest

from speechfleet import errors
from speechfleet.errors import InvalidRequest, JobFailed, SpeechFleetError
from speechfleet.gateway.error_responses import STATUS_OF_CODE, body_of, status_of
from speechfleet.gateway.errors import GatewayError


def kinds(root: type[SpeechFleetError]) -> set[type[SpeechFleetError]]:
    return {root}.union(*(kinds(below) for below in root.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(kinds(SpeechFleetError), key=str))
def test_every_error_has_a_status(kind: type[SpeechFleetError]) -> None:
    error = kind.__new__(kind)  # without what some ask for beside a message
    Exception.__init__(error, "what happened")
    status = status_of(error)
    assert 400 <= status < 600
    if issubclass(kind, InvalidRequest):
        assert status < 500
    told = body_of(error)["error"]
    assert told["code"] == kind.code
    assert (told["type"] == "server_error") == (status >= 500)
    if not issubclass(kind, GatewayError):
        job = JobFailed("it failed of that", code=kind.code)
        assert (status_of(job) < 500) == (status < 500), "a job's failure is known by its code"


def test_statuses_are_of_codes_that_exist() -> None:
    assert STATUS_OF_CODE.keys() <= {kind.code for kind in kinds(errors.SpeechFleetError)}
