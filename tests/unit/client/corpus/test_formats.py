"""Reading corpora: every form, and every way in which one can be wrong."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from speechfleet.corpus import text_file
from speechfleet.corpus.corpus import open_corpus
from speechfleet.corpus.formats import READERS, detect
from speechfleet.corpus.item import BadItem, Item, as_item
from speechfleet.corpus.text_file import TextFile
from speechfleet.errors import InvalidRequest
from speechfleet.tts import Msg

ORDER = {"model": "espeak/espeak-ng", "voice": "en-us", "format": "wav"}


def write(folder: Path, content: str | bytes, name: str = "corpus.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def checked(path: Path, format: str | None = None) -> tuple[list[Item], list[str]]:
    with open_corpus(path, format) as corpus:
        found = list(corpus.checked(ORDER, 1000))
    items = [item for item in found if isinstance(item, Item)]
    told = [str(bad).removeprefix(f"{path}:") for bad in found if isinstance(bad, BadItem)]
    return items, told


def openai(id: str, **body: object) -> str:
    asked = {"custom_id": id, "method": "POST", "url": "/v1/audio/speech", "body": body}
    return json.dumps(asked)


FORMS = {
    "jsonl": '{"id": "a", "text": "One.", "voice": "de", "rate": 120}\n{"text": "Two."}\n',
    "openai": openai("a", model="tts-1", input="One.", voice="de", response_format="mp3", speed=2)
    + "\n",
    "csv": 'text,ID,voice,rate\n"One,\nand on.",a,de,120\nTwo.,,,\n',
    "tsv": "id\ttext\nb\tTwo, three.\n",
    "ljspeech": "LJ1|Dr. One, two.|Doctor One, two.\nLJ2|Two.\n",
    "lines": "One, two.\n\n Two | three.\r\n",
}


@pytest.mark.parametrize("format", FORMS)
def test_the_form_is_told_by_the_content(tmp_path: Path, format: str) -> None:
    path = write(tmp_path, FORMS[format], "corpus")
    assert detect(TextFile(path, str(path))) == format
    packed = write(tmp_path, gzip.compress(FORMS[format].encode()), "corpus.gz")
    items, told = checked(path)
    again, _ = checked(packed)
    assert told == []
    assert [(item.id, item.text) for item in items] == [(item.id, item.text) for item in again]


def test_what_each_form_gives(tmp_path: Path) -> None:
    def read(format: str) -> list[tuple[str, str, dict[str, object]]]:
        items, _ = checked(write(tmp_path, FORMS[format]), format)
        return [(item.id, item.text, dict(item.fields)) for item in items]

    first, second = read("jsonl")
    assert first == ("a", "One.", {"voice": "de", "rate": 120})
    assert (len(second[0]), second[1:]) == (20, ("Two.", {}))
    assert read("openai") == [
        ("a", "One.", {"model": "openai/tts-1", "voice": "de", "format": "mp3", "speed": 2})
    ]
    table = read("csv")
    assert table[0] == ("a", "One,\nand on.", {"voice": "de", "rate": 120})
    assert table[1][1:] == ("Two.", {})
    assert read("tsv") == [("b", "Two, three.", {})]
    assert read("ljspeech") == [("LJ1", "Doctor One, two.", {}), ("LJ2", "Two.", {})]
    assert [text for _, text, _ in read("lines")] == ["One, two.", "Two | three."]


def test_paragraphs(tmp_path: Path) -> None:
    path = write(tmp_path, "One\nand on.\n\n \nTwo.\n\n\nThree.")
    items, _ = checked(path, "paragraphs")
    assert [(item.text, item.place) for item in items] == [
        ("One\nand on.", f"{path}:1"), ("Two.", f"{path}:5"), ("Three.", f"{path}:8"),
    ]  # fmt: skip


def test_derived_ids_are_stable_and_differ_with_what_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": "One."}\n{"text": "One.", "voice": "de"}\n{"text": "One."}\n')
    items, told = checked(path)
    assert told == []
    assert len({item.id for item in items}) == len(items) == 2
    assert [item.id for item in items] == [item.id for item in checked(path)[0]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id": "a", "text": "x"}\n{"id": \n', "2: this is not JSON"),
        ('{"id": "a", "text": "x"}\n[1]\n', "2: this is no JSON object"),
        ('{"a":' * 100_000, "1: this JSON is nested too deeply"),
        ('{"id": "a"}\n', "1: there is no 'text'"),
        ('{"id": ["a"], "text": "x"}\n', "1: its 'id' is ['a']"),
        ('{"id": "a", "text": 7}\n', "1: its 'text' is no text"),
        ('{"id": "a", "text": " "}\n', "1: a: there is nothing to say"),
        ('{"id": "a", "text": "x", "format": "midi"}\n', "1: a: unknown format 'midi'"),
        ('{"id": "a", "text": "x", "voice": 7}\n', "1: a: its 'voice' is 7"),
        ('{"id": "a", "text": "x", "model": "alone"}\n', "1: a: unknown model 'alone'"),
        ('{"id": "a\\u0000", "text": "x"}\n', "1: a\\x00: an id has 1 to 256 characters"),
        ('{"id": "%s", "text": "x"}\n' % ("é" * 150), "is too long for a file name"),
        ('{"id": "a", "text": "%s"}\n' % ("x" * 1001), "the text has 1,001 characters"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "the id 'a' stands in line 1"),
        ('{"custom_id": "a", "url": "/v1/embeddings", "body": {}}\n', "1: it asks for POST /v1/e"),
        (openai("a", model="tts-1"), "1: its 'body' has no text as 'input'"),
        ("id,text\na,x\nb\n", "3: it has 1 columns, the header 2"),
        ('id,text\na,"x"y\nb,z\n', "2: this is no CSV"),
        ("LJ1|x\nLJ2\n", "2: it has 1 parts between |"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_the_others_are_read(
    tmp_path: Path, content: str, said: str
) -> None:
    items, told = checked(write(tmp_path, content, "corpus"))
    assert len(told) == 1
    assert said in told[0]
    assert all(item.text in "xz" for item in items)


def test_all_bad_lines_are_told(tmp_path: Path) -> None:
    content = b'{"text": "one"}\nnope\n{"text": "caf\xe9"}\n{"id": "a"}\n{"text": "two"}\n'
    items, told = checked(write(tmp_path, content))
    assert [item.text for item in items] == ["one", "two"]
    assert [line.partition(":")[0] for line in told] == ["2", "3", "4"]
    assert "0xE9, which is not UTF-8" in told[1]


def test_ids_that_are_one_file_on_some_disks(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    ids = ["A", "b", "a", "caf\u00e9", "cafe\u0301", "../x", "%2E./x"]
    path.write_text("".join(json.dumps({"id": id, "text": f"Text {id}."}) + "\n" for id in ids))
    with open_corpus(path) as corpus:
        bad = corpus.examine({"model": "espeak/espeak-ng"}, 1000).bad
        assert [each.place for each in bad] == [f"{path}:3", f"{path}:5"]
        assert "'A' and 'a' are one file name" in bad[0].why
        assert not corpus.examine({"model": "espeak/espeak-ng"}, 1000, files=False).bad


def test_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "LINE_BYTES", 1 << 20)
    path = write(tmp_path, b"one\n" + b"x" * (3 << 20) + b"\ntwo\n")
    items, told = checked(path)
    assert [item.text for item in items] == ["one", "two"]
    assert told == ["2: the line is longer than 1 MB"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ("Hello.".encode("utf-16"), "is UTF-16, not UTF-8"),
        ("Hello.".encode("utf-16-le"), "not UTF-8"),
        (gzip.compress(b"Hello.\n" * 1000, mtime=0)[:-9], "is damaged gzip"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        checked(write(tmp_path, content))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is a folder"):
        checked(tmp_path)
    with pytest.raises(InvalidRequest, match="is not there"):
        checked(tmp_path / "missing")
    with pytest.raises(InvalidRequest, match="it is one of openai, jsonl"):
        checked(write(tmp_path, "x"), "xml")
    with pytest.raises(InvalidRequest, match="1: no column is called 'text'"):
        checked(write(tmp_path, "id,words\na,b\n"), "csv")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    items, _ = checked(write(tmp_path, b"\xef\xbb\xbfid,text\na,Hello.\n"))
    assert [(item.id, item.text) for item in items] == [("a", "Hello.")]


def test_stdin_is_spooled_and_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"One.\nTwo.\n")))
    with open_corpus("-") as corpus:
        for _ in range(2):
            assert [item.text for item in corpus.items(ORDER, 1000)] == ["One.", "Two."]
        assert corpus.examine(ORDER, 1000).characters == 8


def test_a_pipe_is_spooled_and_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"One.\nTwo.\n",))
    writer.start()
    with open_corpus(pipe) as corpus:
        for _ in range(2):
            assert [item.text for item in corpus.items(ORDER, 1000)] == ["One.", "Two."]
    writer.join()


def test_every_form_has_a_reader_that_is_documented() -> None:
    assert all(format in READERS for format in FORMS)


def test_file_names_stay_in_their_folder_and_differ() -> None:
    ids = ["a/b", "a%2Fb", "..", ".", "../../etc/passwd", "a:b", "a b", "a ", "a.", "第一章", ".a"]
    names = [Item(id, "x").file_name for id in ids]
    assert len(set(names)) == len(ids)
    assert not any("/" in name or name.startswith(".") or name.endswith(" ") for name in names)
    assert names[-2] == "第一章"


def test_items_of_programs() -> None:
    item = Item("a", "x")
    assert as_item(item, "item 1") is item
    assert as_item(("a", "x"), "item 1") == Item("a", "x", {}, "item 1")
    assert as_item(Msg("me", "x", id="a"), "item 1").id == "a"
    assert as_item({"id": 7, "text": "x", "options": {"rate": 1}}, "").fields == {"rate": 1}
    assert as_item("x", "").id == as_item("x", "").id
    for wrong in (7, None, ("a", 7), {"id": "a"}):
        with pytest.raises(InvalidRequest, match="item 3: "):
            as_item(wrong, "item 3")  # type: ignore[arg-type]  # that is the point
