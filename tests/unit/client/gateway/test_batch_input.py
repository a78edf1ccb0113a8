"""Input files of batches: what fails the whole, what fails a line, and what is spoken."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from speechfleet.corpus.item import Item
from speechfleet.errors import UnknownVoice
from speechfleet.gateway.batches import batch_input
from speechfleet.gateway.batches.batch_input import ENDPOINT, BatchInput

LONGEST_LINE = 600


def check(id: str, body: Mapping[str, Any], place: str) -> Item:
    if body["voice"] == "unheard":
        raise UnknownVoice("unheard", ["heart"])
    return Item(id, body["input"], {"model": "a/b", "voice": body["voice"]}, place)


@pytest.fixture
def lines() -> Iterator[BatchInput]:
    lines = BatchInput(check, LONGEST_LINE)
    yield lines
    lines.close()


def line(id: object, voice: str = "heart", **changes: object) -> bytes:
    body = {"input": f"Text of {id}.", "voice": voice}
    asked = {"custom_id": id, "method": "POST", "url": ENDPOINT, "body": body, **changes}
    return json.dumps(asked).encode() + b"\n"


def test_lines_are_sorted_and_numbered(lines: BatchInput) -> None:
    content = b"\xef\xbb\xbf" + line("a") + line("b", "unheard") + line("c")
    lines.read(io.BytesIO(content.rstrip(b"\n")))
    assert (lines.lines, lines.refused_lines, lines.problems) == (3, 1, [])
    assert [(each.id, each.place, each.fields["voice"]) for each in lines.items()] == [
        ("a", "line 1", "heart"),
        ("c", "line 3", "heart"),
    ]
    lines.refused.seek(0)
    [refused] = [json.loads(each) for each in lines.refused]
    assert (refused["custom_id"], refused["line"], refused["code"]) == ("b", 2, "unknown_voice")
    assert refused["body"]["input"] == "Text of b."


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"[1]\n", "invalid_json_line"),
        (b"\n", "invalid_json_line"),
        (b'{"custom_id": "\xff"}\n', "invalid_json_line"),
        (b"[" * 250 + b"\n", "invalid_json_line"),
        (line(7), "missing_custom_id"),
        (line(""), "missing_custom_id"),
        (line("x" * 181), "invalid_custom_id"),
        (line("a\nb"), "invalid_custom_id"),
        (line("first"), "duplicate_custom_id"),
        (line("b", method="GET"), "invalid_method"),
        (line("b", url="/v1/responses"), "invalid_url"),
        (line("b", body="text"), "missing_body"),
    ],
)
def test_a_wrong_line_fails_the_batch_and_others_are_looked_at(
    lines: BatchInput, wrong: bytes, code: str
) -> None:
    lines.read(io.BytesIO(line("first") + wrong + b"{\n"))
    assert [(each.line, each.code) for each in lines.problems] == [
        (2, code),
        (3, "invalid_json_line"),
    ]


def test_an_endless_line_is_not_read(lines: BatchInput) -> None:
    source = io.BytesIO(b"x" * 10 * LONGEST_LINE)
    lines.read(source)
    assert source.tell() == LONGEST_LINE + 1
    assert [each.code for each in lines.problems] == ["line_too_long"]


def test_there_is_a_largest_number_of_lines(
    lines: BatchInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_input, "MAX_LINES", 2)
    lines.read(io.BytesIO(b"".join(line(f"{n}") for n in range(5))))
    assert [(each.line, each.code) for each in lines.problems] == [(3, "too_many_lines")]


def test_problems_are_told_up_to_a_number(lines: BatchInput) -> None:
    lines.read(io.BytesIO(b"{\n" * 1000))
    assert len(lines.problems) == batch_input.MAX_PROBLEMS


def test_a_file_without_lines_is_no_input(lines: BatchInput) -> None:
    lines.read(io.BytesIO(b""))
    assert [each.code for each in lines.problems] == ["empty_file"]
