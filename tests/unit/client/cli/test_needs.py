"""What commands say where packages are missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from speechfleet.cli.app import run


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text("Hello.\n")


@pytest.fixture
def no_worker_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechfleet.embedded.requirements.find_spec", lambda _: None)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def refusal(*arguments: str) -> str:
        assert run(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    return refusal


@pytest.mark.usefixtures("no_worker_packages")
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["say", "Hello."], "local"),
        (["session"], "local"),
        (["batch", "corpus.txt", "--out", "out"], "local"),
        (["batch", "corpus.txt", "--dry-run"], "worker"),
        (["voices", "espeak/espeak-ng"], "local"),
        (["providers"], "local"),
        (["up"], "local"),
        (["worker"], "worker"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_the_extra_is_named_that_suffices(
    refusal: Callable[..., str], command: list[str], extra: str
) -> None:
    assert f"pip install 'speechfleet[{extra}]'" in refusal(*command)


def test_flower_needs_its_extra(
    refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechfleet.cli.fleet_processes.find_spec", lambda _: None)
    assert "pip install 'speechfleet[flower]'" in refusal("flower")


def test_windows_is_a_client_only(
    refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert "needs Linux or macOS" in refusal("worker")


def findings(capsys: pytest.CaptureFixture[str], status: int) -> dict[str, dict[str, str]]:
    assert run(["doctor", "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] == (status == 0)
    return {each["subject"]: each for each in told["findings"]}


def test_doctor_judges_the_fleet_that_say_would_bring_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = findings(capsys, 0)
    assert found["fleet"]["verdict"] == "ok"
    assert found["worker"]["verdict"] == "ok"
    assert found["provider espeak"]["verdict"] == "ok"
    assert found["provider openai"]["mend"] in (
        "set OPENAI_API_KEY", "pip install 'speechfleet[openai]'"
    )  # fmt: skip


@pytest.mark.usefixtures("no_worker_packages")
def test_doctor_names_the_extra_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    worker = findings(capsys, 2)["worker"]
    assert worker["verdict"] == "failure"
    assert "celery" in worker["found"]
    assert worker["mend"] == "pip install 'speechfleet[local]'"


def test_doctor_names_settings_that_are_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHFLEET_GATEWAY_KEY", "x")
    setting = findings(capsys, 0)["setting SPEECHFLEET_GATEWAY_KEY"]
    assert setting["mend"] == "set SPEECHFLEET_GATEWAY_KEYS instead"


def test_doctor_on_a_server_that_is_away(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folder_store_url: str,
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "unix:///nowhere/valkey.sock")
    monkeypatch.setenv("SPEECHFLEET_STORE", folder_store_url)
    assert findings(capsys, 4)["Redis"]["found"] == "fleet_unavailable"
