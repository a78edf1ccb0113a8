"""The forms in which a corpus is written: each a function from lines to items, in `READERS`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any

from speechfleet.corpus.item import BadItem, Item, derived_id, from_fields
from speechfleet.corpus.lines import LINE_BYTES, Source
from speechfleet.errors import InvalidRequest, SpeechFleetError

Found = Item | BadItem
_SPEECH_URL = "/v1/audio/speech"
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def read(source: Source, format: str) -> Iterator[Found]:
    """The items of a corpus, one at a time, and what is wrong where one should be."""
    yield from READERS[format](source)


def detect(source: Source) -> str:
    """The format, by the first line that is not empty and by the name. Raises InvalidRequest.

    A text of lines is never taken for one of paragraphs: that has to be asked for.
    """
    line = next(line for line in source.head().splitlines() if line.strip())
    suffixes = PurePath(source.name).suffixes
    suffix = next((each[1:].lower() for each in reversed(suffixes) if each != ".gz"), "")
    if line.lstrip().startswith("{"):
        return "openai" if '"custom_id"' in line else "jsonl"
    for format, delimiter in _DELIMITERS.items():
        if "text" in (
            name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter))
        ):
            return format
    if suffix not in {"txt", "md"} and 1 <= line.count("|") <= 2:
        return "ljspeech"
    if suffix in {"jsonl", "ndjson", "json"}:
        return "jsonl"
    return suffix if suffix in _DELIMITERS else "lines"


def _each_line(source: Source, parse: Callable[[str, str], Item]) -> Iterator[Found]:
    """A line an item; empty ones are passed over."""
    for found in source.lines():
        if isinstance(found, BadItem):
            yield found
            continue
        number, line = found
        if line.strip():
            place = source.place(number)
            try:
                yield parse(line, place)
            except SpeechFleetError as error:
                yield BadItem(place, error.message)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InvalidRequest(f"this is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("this JSON is nested too deeply") from None
    if not isinstance(value, dict):
        raise InvalidRequest("this is no JSON object")
    return value


def _jsonl(source: Source) -> Iterator[Found]:
    """``{"id": ..., "text": ..., "voice": ...}``: any field of a request, any option."""
    return _each_line(source, lambda line, place: from_fields(_object(line), place))


def _openai(source: Source) -> Iterator[Found]:
    """``{"custom_id", "method", "url": "/v1/audio/speech", "body"}``: OpenAI's batch form."""
    return _each_line(source, _openai_item)


def _openai_item(line: str, place: str) -> Item:
    asked = _object(line)
    id, url, body = asked.get("custom_id"), asked.get("url"), asked.get("body")
    if not isinstance(id, str) or not id:
        raise InvalidRequest("there is no 'custom_id'")
    if asked.get("method", "POST") != "POST" or url != _SPEECH_URL:
        raise InvalidRequest(f"it asks for {asked.get('method', 'POST')} {url}: only POST "
                             f"{_SPEECH_URL} is speech")  # fmt: skip
    if not isinstance(body, dict) or not isinstance(body.get("input"), str):
        raise InvalidRequest("its 'body' has no text as 'input'")
    fields = {name: value for name, value in body.items() if name != "stream_format"}
    fields["text"] = fields.pop("input")
    if "response_format" in fields:
        fields["format"] = fields.pop("response_format")
    if isinstance(model := fields.get("model"), str) and "/" not in model:
        fields["model"] = f"openai/{model}"
    return from_fields({**fields, "id": id}, place)


def _ljspeech(source: Source) -> Iterator[Found]:
    """``id|text`` and ``id|text|normalized text``, of which the last is spoken."""
    return _each_line(source, _ljspeech_item)


def _ljspeech_item(line: str, place: str) -> Item:
    id, *texts = line.split("|")
    if not 1 <= len(texts) <= 2:
        raise InvalidRequest(f"it has {len(texts) + 1} parts between |, not 2 or 3")
    return Item(id.strip(), texts[-1] or texts[0], {}, place)


def _table(source: Source, format: str) -> Iterator[Found]:
    """With a header: ``text``, and any of ``id``, a request's fields and the options."""
    bad: list[BadItem] = []

    def lines() -> Iterator[str]:
        """A line that cannot be decoded is told, and read as empty."""
        for found in source.lines():
            if isinstance(found, BadItem):
                bad.append(found)
            yield "\n" if isinstance(found, BadItem) else f"{found[1]}\n"

    csv.field_size_limit(LINE_BYTES)
    rows = csv.reader(lines(), delimiter=_DELIMITERS[format], strict=True)
    header: list[str] = []
    while True:
        place = source.place(rows.line_num + 1)
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield BadItem(place, f"this is no {format.upper()}: {error}")
            continue
        yield from bad
        bad.clear()
        if row is None:
            return
        if not header and row:
            header = [name.strip().lower() for name in row]
            _check_header(source, header)
        elif row:
            yield _row(header, row, place)


def _check_header(source: Source, header: list[str]) -> None:
    if "text" not in header:
        raise InvalidRequest(
            f"{source.place(1)}: no column is called 'text'; there are {', '.join(header)[:200]}"
        )
    if twice := {name for name in header if header.count(name) > 1}:
        raise InvalidRequest(f"{source.place(1)}: columns called the same: {', '.join(twice)}")


def _row(header: list[str], row: list[str], place: str) -> Found:
    if len(row) != len(header):
        return BadItem(place, f"it has {len(row)} columns, the header {len(header)}")
    cells = dict(zip(header, row, strict=True))
    named = {name: value for name, value in cells.items() if name and value.strip()}
    try:
        return from_fields({name: _value(name, value) for name, value in named.items()}, place)
    except SpeechFleetError as error:
        return BadItem(place, error.message)


def _value(name: str, cell: str) -> Any:
    """A cell is text; one of an option may be a number, as it would be in JSON."""
    if name in {"id", "text", "model", "voice", "format", "segments"}:
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _lines(source: Source) -> Iterator[Found]:
    """A line an item; its id is the hash of its text."""
    return _each_line(source, _text)


def _text(text: str, place: str) -> Item:
    text = text.strip()
    return Item(derived_id(text, {}), text, {}, place)


def _paragraphs(source: Source) -> Iterator[Found]:
    """A paragraph an item: what stands between two blank lines."""
    lines: list[str] = []
    place = ""
    for found in _with_end(source.lines()):
        if isinstance(found, BadItem):
            yield found
            continue
        number, line = found
        if line.strip():
            place = place if lines else source.place(number)
            lines.append(line)
        elif lines:
            yield _text("\n".join(lines), place)
            lines.clear()


def _with_end(lines: Iterable[tuple[int, str] | BadItem]) -> Iterator[tuple[int, str] | BadItem]:
    """A last blank line, which ends the last paragraph."""
    yield from lines
    yield 0, ""


READERS: dict[str, Callable[[Source], Iterator[Found]]] = {
    "openai": _openai,
    "jsonl": _jsonl,
    "csv": lambda source: _table(source, "csv"),
    "tsv": lambda source: _table(source, "tsv"),
    "ljspeech": _ljspeech,
    "lines": _lines,
    "paragraphs": _paragraphs,
}
