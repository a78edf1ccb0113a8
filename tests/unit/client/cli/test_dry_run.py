"""``batch --dry-run`` and ``segments``: what they tell, with nothing sent and no fleet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from speechfleet.cli.app import run
from speechfleet.embedded import requirements

ESPEAK = ("--model", "espeak/espeak-ng")


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def corpus(name: str, *lines: str) -> str:
    Path(name).write_text("\n".join(lines) + "\n", "utf-8")
    return name


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(("batch", *arguments, "--out", "out", "--dry-run", "--json")) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_dry_run_makes_nothing_and_tells_the_segments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "Er kam am 3. Oktober an. Siehe Bd. 5 dort. Nr. 7 lebt."
    path = corpus("c.jsonl", json.dumps({"id": "a", "text": text, "segments": "sentence"}))
    [model] = plan(capsys, path, *ESPEAK, "--voice", "de")["models"]
    assert (model["segments"], model["cost"]) == (3, 0.0)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(("--model", "opnai/tts-1"), "openai/tts-1", id="provider"),
        pytest.param((*ESPEAK, "--voice", "englsh"), "unknown voice 'englsh'", id="voice"),
        pytest.param((*ESPEAK, "--option", "rate=9999"), "rate", id="value of an option"),
        pytest.param((*ESPEAK, "--option", "rat=9"), "unknown option 'rat'", id="option"),
    ],
)
@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
def test_what_cannot_be_spoken_is_refused_before_anything_starts(
    arguments: tuple[str, ...], named: str, dry: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpus("c.csv", "id,text", "1,The kettle is on.", "2,It boils.")
    assert run(("batch", path, *arguments, "--out", "out", *(["--dry-run"] if dry else []))) == 2
    err = capsys.readouterr().err
    assert named in err
    assert "c.csv:2" in err
    assert "nothing was sent" in err
    assert not Path("out").exists()


def test_a_text_without_letters_is_named_with_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = corpus("c.csv", "id,text", "1,The kettle is on.", "2,...")
    assert run(("batch", path, *ESPEAK, "--out", "out", "--dry-run")) == 2
    assert "c.csv:3: there is nothing to say" in capsys.readouterr().err
    told = plan(capsys, path, *ESPEAK, "--skip-bad")
    assert (told["items"], told["models"][0]["items"]) == (1, 1)


def test_rules_between_the_lines_of_a_plain_text_are_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = corpus("c.txt", "One.", "* * *", "Two.")
    assert plan(capsys, path, *ESPEAK)["items"] == 2


def test_the_price_of_chinese_is_by_the_character(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "船长把船开出了小小的港口然后坐下来。" * 50
    path = corpus("c.jsonl", json.dumps({"id": "a", "text": text}))
    [model] = plan(capsys, path, "--model", "openai/tts-1", "--voice", "alloy")["models"]
    assert model["cost"] == pytest.approx(len(text) * 15 / 1e6)


def test_limits_of_the_settings_are_kept_to_and_unknown_ones_are_not_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = corpus("c.csv", "id,text", *(f"{n},Sentence {n}." for n in range(10)))
    order = (path, "--model", "openai/tts-1", "--voice", "alloy")
    [model] = plan(capsys, *order)["models"]
    assert (model["minutes"], model["limits_from"], model["starting_rate"]) == (None, "", 300)
    assert run(("batch", *order, "--out", "out", "--dry-run")) == 0
    assert "not known yet (starts at 300/min)" in capsys.readouterr().out
    monkeypatch.setenv("SPEECHFLEET_LIMITS", '{"openai/tts-1": {"requests": 5}}')
    [model] = plan(capsys, *order)["models"]
    assert (model["minutes"], model["limits_from"]) == (2.0, "as set")


def test_segments_shows_the_cuts_and_the_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("segments", "Er kam am 3. Mai. Er ging.", "--language", "de")) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 segments")
    assert "language: de (of the voice)" in out
    assert "end of a sentence" in out
    path = corpus("t.txt", "Il a vu Mme. Martin. Elle est partie.")
    assert run(("segments", path, "--model", "openai/tts-1", "--json")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["language"], answer["language_from"]) == ("fr", "text")
    assert [segment["text"] for segment in answer["segments"]] == [
        "Il a vu Mme. Martin.",
        "Elle est partie.",
    ]


def test_segments_of_nothing_to_speak_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("segments", "...")) == 1
    assert "nothing to speak" in capsys.readouterr().err


def test_without_the_worker_package_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda _: None)
    assert run(("segments", "Hello.")) == 2
    assert "speechfleet[worker]" in capsys.readouterr().err
