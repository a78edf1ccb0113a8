"""Completion in a shell, and the small words of the output."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechfleet.cli import completion, output
from speechfleet.cli.app import run


def test_models_complete() -> None:
    assert completion.complete_model("espeak/") == ["espeak/espeak-ng"]
    assert "openai/tts-1" in completion.complete_model("openai/")


def test_ids_complete_to_nothing_without_a_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert completion.complete_job_id("") == []
    assert completion.complete_batch_id("") == []


def test_commands_complete(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_SPEECHFLEET_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "speechfleet wor")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        run([])
    assert capsys.readouterr().out.split() == ["worker", "workers"]


def test_plurals() -> None:
    assert output.count(1, "segment") == "1 segment"
    assert output.count(0, "segment") == "0 segments"
    assert output.count(1200, "lost worker") == "1,200 lost workers"


def test_a_misspelt_batch_command_is_no_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["batch", "statsu", "x"]) == 2
    assert "did you mean `speechfleet batch status`?" in capsys.readouterr().err


def test_help_of_batch_shows_its_options_and_its_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["batch", "-h"]) == 0
    told = capsys.readouterr().out
    assert "--dry-run" in told
    assert "retry-failed" in told


def test_a_key_for_a_namespace_that_the_setting_cannot_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["key", "a=b,c"]) == 2
    assert "take another name" in capsys.readouterr().err
