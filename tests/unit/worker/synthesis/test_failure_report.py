"""A failure in a record names provider, attempt and address, and no secret."""

from __future__ import annotations

import pytest

from speechfleet.errors import ProviderError, ProviderUnavailable, SpeechFleetError
from speechfleet.settings import Endpoint, Settings
from speechfleet_worker.synthesis.failure_report import failure_report
from tests.support.stub_ledger import make_record

ENDPOINT = Endpoint(base_url="http://127.0.0.1:9/v1", key_env="KOKORO_CREDENTIALS")
SETTINGS = Settings(endpoints={"stub": ENDPOINT}, max_attempts=5)


def test_a_providers_failure_names_it_and_the_attempt() -> None:
    error = ProviderError("too long", provider_code="E12", request_id="req-7")
    code, message = failure_report(error, make_record(attempts=7), SETTINGS, attempt=5)
    assert code == "provider_error"
    assert message == "stub: too long [E12] [request id req-7] (attempt 5 of 5)"


def test_an_endpoint_that_is_away_is_told_with_its_setting() -> None:
    error = ProviderUnavailable("http://127.0.0.1:9/v1 refused the connection")
    _, message = failure_report(error, make_record(), SETTINGS)
    assert message == (
        "stub: http://127.0.0.1:9/v1 refused the connection; "
        "its address stands in SPEECHFLEET_ENDPOINTS"
    )


def test_an_error_of_ours_stands_as_it_is() -> None:
    error = SpeechFleetError("so it is", code="own")
    assert failure_report(error, make_record(), Settings()) == ("own", "so it is")


def test_secrets_are_struck_out_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first-secret")
    monkeypatch.setenv("KOKORO_CREDENTIALS", "second-secret")
    error = ProviderError(
        "key sk-first-secret",
        code="bad_second-secret",
        provider_code="sk-first-secret",
        request_id="second-secret",
    )
    report = " ".join(failure_report(error, make_record(), SETTINGS))
    assert "secret" not in report
    assert report.count("***") == 4
