"""`speechfleet batch CORPUS`: how it reads corpora, and what it says about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechfleet.cli.app import run

FILES = {
    "a.csv": "id;sentence;mood\n1;The kettle is on.;good\n2;It is late.;bad\n",
    "two.csv": "id,sentence,transcript\n1,a,b\n",
    "a.txt": "The kettle is on.\n",
    "b.txt": "It is late.\n",
    "bad.jsonl": '{"id": "1"}\n{"id": "2", "text": "It is late."}\n',
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The status, stdout and stderr of a dry run."""
    status = run(["batch", *arguments, "--dry-run"])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["two.csv"], "may all be the text: name it with --text-column"),
        (["a.csv", "--text-column", "words"], "no column is called 'words'"),
        (["a.csv", "--delimiter", "::"], "a delimiter is one character"),
        (["a.csv", "--ids", "name"], "--ids is number, stem, hash"),
        (["a.txt", "a.csv"], "a.csv is no text file"),
        (["a.txt", "b.txt", "--text-column", "x"], "of several text files each is one text"),
        (["nothing/*.txt"], "nothing/*.txt is not there"),
        (["bad.jsonl"], "1 bad of 2 in bad.jsonl"),
    ],
)
def test_what_cannot_be_read_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    status, out, err = dry(capsys, *arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_fields_that_are_ignored_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = dry(capsys, "a.csv")
    assert status == 0
    assert err.count("mood") == 1
    assert "2 items, read as csv" in out


def test_several_texts_are_one_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = dry(capsys, "a.txt", "b.txt", "--ids", "number")
    assert status == 0
    assert "2 items, read as files" in out
