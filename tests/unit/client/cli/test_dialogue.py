"""A dialogue in a file: who speaks what, and what is wrong with it, by file and line."""

from pathlib import Path

import pytest

from speechfleet.cli.dialogue import Cast, read_dialogue
from speechfleet.errors import IllegalText, InvalidRequest

CAST = Cast({"Anna": "alloy", "Ben B.": "nova"})


def dialogue(folder: Path, text: str) -> Path:
    path = folder / "play.txt"
    path.write_text(text, "utf-8")
    return path


def test_each_line_is_a_part_and_a_blank_continues_it(tmp_path: Path) -> None:
    path = dialogue(
        tmp_path, "\ufeffAnna: Hello: you.\n\nBen B. : Fine.\n  And you?\nAnna:\n  Well.\n"
    )
    assert read_dialogue(path, CAST) == [
        {"voice": "alloy", "text": "Hello: you."},
        {"voice": "nova", "text": "Fine.\nAnd you?"},
        {"voice": "alloy", "text": "Well."},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Anna: Hi.\nCarl: Hm.", r"play\.txt:2: 'Carl' has no voice: .*--voice 'Carl=VOICE'"),
        ("Anna: Hi.\nAnna:\n", r"play\.txt:2: 'Anna' has nothing to say"),
        ("Hi there.\n", r"play\.txt:1: 'Hi there\.' is not NAME: TEXT"),
        ("  Hi.\n", r"play\.txt:1: .* is not NAME: TEXT"),
    ],
    ids=["unknown speaker", "empty part", "no name", "a continuation of nothing"],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_dialogue(dialogue(tmp_path, text), CAST)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"--dialogue .*none\.txt: No such file"):
        read_dialogue(tmp_path / "none.txt", CAST)
    (path := tmp_path / "bytes.txt").write_bytes(b"Anna: \xff")
    with pytest.raises(IllegalText, match="is not UTF-8: see byte 6"):
        read_dialogue(path, CAST)


def test_voices_may_name_their_model() -> None:
    cast = Cast.of(["Anna=alloy", "Ben=openai/tts-1:nova", "Eve=espeak/espeak-ng:en-us+f3"])
    assert cast.model == "openai/tts-1"
    assert cast.voices["Eve"] == "espeak/espeak-ng:en-us+f3"


@pytest.mark.parametrize(
    ("voices", "message"),
    [(["alloy"], "NAME=VOICE or NAME=MODEL:VOICE"), (["=alloy"], "NAME=VOICE")],
    ids=["no name", "an empty name"],
)  # fmt: skip
def test_a_wrong_cast_is_refused(voices: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Cast.of(voices)
