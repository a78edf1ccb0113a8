"""Models that their provider closes are named before that day, and after it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speechfleet.cli.app import app
from speechfleet.model_shutdowns import SHUTDOWNS, shutdown_warning
from speechfleet_worker.providers.built_in import BUILT_IN


@pytest.mark.parametrize(
    ("day", "words"),
    [(date(2027, 1, 5), "closes on"), (date(2027, 1, 6), "was closed on")],
    ids=["the day before", "the day itself"],
)
def test_the_day_decides(day: date, words: str) -> None:
    warning = shutdown_warning("openai/tts-1", day)
    assert warning == f"openai/tts-1 {words} 2027-01-06: change to openai/gpt-realtime-2.1-mini"


def test_other_models_have_no_warning() -> None:
    assert shutdown_warning("espeak/espeak-ng") == ""


def test_successors_are_models_that_we_suggest_and_stay() -> None:
    for shutdown in SHUTDOWNS.values():
        provider, _, name = shutdown.successor.partition("/")
        assert name in BUILT_IN[provider].models
        assert shutdown.successor not in SHUTDOWNS


def test_a_dry_run_warns(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.csv"
    corpus.write_text("id,text\na,Hello there.\n")
    done = CliRunner().invoke(
        app, ["batch", str(corpus), "--dry-run", "--model", "openai/tts-1", "--voice", "alloy"]
    )
    assert "warning: openai/tts-1" in done.stderr, done.output


def test_doctor_warns_of_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_DEFAULT_MODEL", "openai/tts-1")
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "redis://127.0.0.1:1/0")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert "change to openai/gpt-realtime-2.1-mini" in done.stdout, done.output
