"""How commands end: exit statuses, and errors as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speechfleet import errors
from speechfleet.cli.app import run
from speechfleet.cli.exit_status import status_of
from speechfleet.errors import SpeechFleetError


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.JobFailed("...", code="provider_unavailable"), 1),
        (errors.JobFailed("...", code="authentication_failed"), 1),
        (errors.JobCancelled("..."), 1),
        (errors.BatchStopped("..."), 1),
        (errors.JobFailed("...", code="unknown_voice"), 2),
        (errors.JobFailed("...", code="missing_extra"), 2),
        (errors.InvalidRequest("..."), 2),
        (errors.Conflict("..."), 2),
        (errors.MissingExtra("...", "s3"), 2),
        (errors.StoreDenied("..."), 2),
        (errors.JobNotFound("..."), 3),
        (errors.BatchNotFound("..."), 3),
        (errors.ObjectMissing("..."), 3),
        (errors.FleetUnavailable("..."), 4),
        (errors.FleetFull("..."), 4),
        (errors.StoreUnavailable("..."), 4),
        (errors.NoCapacity("..."), 4),
        (errors.FolderInUse("..."), 4),
    ],
)
def test_the_status_tells_what_to_do_next(error: SpeechFleetError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["say", "x", "-m", "espeak", "--json"], "unknown_model", "provider/model"),
        (["say", "x", "-o", "-", "--json"], "invalid_request", "both write to stdout"),
        (["status", "x", "--json"], "misconfigured", "`speechfleet up`"),
        (["status", "--json"], "wrong_use", "(see speechfleet status --help)"),
        (["jobs", "--count", "0", "--json"], "wrong_use", "(see speechfleet jobs --help)"),
        (["shout", "--json"], "wrong_use", "(see speechfleet --help)"),
        (["batch", "missing.csv", "--dry-run", "--json"], "invalid_request", "missing.csv"),
    ],
)
def test_with_json_an_error_is_one_object(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: str, said: str
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    told = json.loads(out)["error"]
    assert (told["code"], told["retryable"]) == (code, False)
    assert said in told["message"]
    assert err.count("\n") == 1


def test_a_server_that_is_away_is_status_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "unix:///nowhere/valkey.sock")
    assert run(["status", "x", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)["error"]
    assert (told["code"], told["retryable"]) == ("fleet_unavailable", True)


def test_a_text_that_looks_like_an_option_asks_for_no_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["status", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_unknown_settings_are_named_once_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDISURL", "redis://here")
    monkeypatch.setenv("SPEECHFLEET_XYZZY", "1")
    assert run(["status", "x"]) == 2
    first, second, _ = capsys.readouterr().err.splitlines()
    assert first.endswith(
        "REDISURL is no setting and is ignored; did you mean SPEECHFLEET_REDIS_URL?"
    )
    assert "SPEECHFLEET_XYZZY is no setting" in second


def test_the_namespace_of_one_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHFLEET_NAMESPACE", "mine")
    assert run(["--namespace", "a\nb", "status", "x"]) == 2
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "unix:///nowhere/valkey.sock")
    assert run(["--namespace", "a\nb", "status", "x"]) == 2
    assert "1 to 256 characters" in capsys.readouterr().err
