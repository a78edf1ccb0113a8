"""Formats of a corpus: `READERS` has a function for each, from a file to items."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from speechfleet.corpus import file_lists, json_values, tables
from speechfleet.corpus.columns import FIELD, Columns, clean_name, find_columns
from speechfleet.corpus.item import BadItem, Item, from_fields
from speechfleet.corpus.read_options import BY_CONTENT, ReadOptions
from speechfleet.corpus.text_file import TextFile
from speechfleet.errors import InvalidRequest, SpeechFleetError

Found = Item | BadItem
_SPEECH_PATH = "/v1/audio/speech"
_TEXT_SUFFIXES = {"txt", "md", "text"}
_JSON_SUFFIXES = {"jsonl", "ndjson", "json"}
_TABLE_SUFFIXES = {"csv": ",", "tsv": "\t"}
_SUBTITLES = re.compile(r"(WEBVTT\b.*)|\d+")
_CUE_TIMES = re.compile(r"\s*[\d:.,]+\s*-->\s*[\d:.,]+")


def read(source: TextFile, format: str, options: ReadOptions = BY_CONTENT) -> Iterator[Found]:
    """Yield the items of a corpus one at a time, and a BadItem where one should be."""
    yield from READERS[format](source, options)


def detect(source: TextFile, options: ReadOptions = BY_CONTENT) -> str:
    """Recognize the format by content and name. Raises InvalidRequest where it is in doubt.

    A text of lines is never taken for one of paragraphs: that has to be asked for.
    """
    lines = source.head_lines
    suffix = suffix_of(source.name)
    _refuse_subtitles(source, lines, suffix)
    if lines[0].lstrip().startswith("{") and not json_values.is_spread(lines[0]):
        return "openai" if '"custom_id"' in lines[0] else "jsonl"
    if json_values.is_spread(lines[0]) or json_values.is_array(lines[0]):
        return "json"
    return _of_text(source, lines, suffix, options)


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name that is not .gz, in lower case, without its dot."""
    suffixes = [suffix[1:].lower() for suffix in PurePath(name).suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != "gz"), "")


def _of_text(source: TextFile, lines: list[str], suffix: str, options: ReadOptions) -> str:
    is_text_file = suffix in _TEXT_SUFFIXES
    if tables.has_header(source, options, is_text_file=is_text_file):
        return "tsv" if tables.delimiter_of(source, options) == "\t" else "csv"
    if options.separator in {"", "|"} and options.has_numbers and "|" in lines[0]:
        return "ljspeech"
    may_be_list = options.separator in {"", "|"} and not options.columns
    if may_be_list and (found := file_lists.recognize(source, is_text_file=is_text_file)):
        return found
    if suffix in _JSON_SUFFIXES:
        return "jsonl"
    if options.columns and suffix not in _TABLE_SUFFIXES:
        return "tsv" if "\t" in lines[0] else "csv"
    return suffix if suffix in _TABLE_SUFFIXES else "lines"


def _refuse_subtitles(source: TextFile, lines: list[str], suffix: str) -> None:
    has_times = any(_CUE_TIMES.match(line) for line in lines[:4])
    if has_times and (suffix in {"srt", "vtt"} or _SUBTITLES.fullmatch(lines[0].strip())):
        raise InvalidRequest(
            f"{source.name} has subtitles (SRT or WebVTT), whose numbers and times are no texts: "
            "give it as plain text or JSONL"
        )


def _each_line(source: TextFile, parse: Callable[[str, str], Item]) -> Iterator[Found]:
    """Yield an item for each line that is not empty."""
    for line in source.lines():
        if isinstance(line, BadItem):
            yield line
            continue
        number, text = line
        if text.strip():
            place = source.place(number)
            try:
                yield parse(text, place)
            except SpeechFleetError as error:
                yield BadItem(place, error.message)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InvalidRequest(f"this is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("this JSON is nested too deeply") from None
    return _checked_object(value)


def _checked_object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest("this is no JSON object")
    return value


def _jsonl(source: TextFile, options: ReadOptions) -> Iterator[Found]:
    """Read ``{"id": ..., "text": ..., "voice": ...}``: fields of a request, options."""
    return _each_line(source, lambda line, place: _named_item(_object(line), place, options))


def _json(source: TextFile, options: ReadOptions) -> Iterator[Found]:
    """Read ``[{"id": ..., "text": ...}, ...]``, and objects over several lines each."""
    for value in json_values.read_values(source):
        if isinstance(value, BadItem):
            yield value
            continue
        place, fields = value
        try:
            if isinstance(fields, str):
                yield _text(fields, place)
            else:
                yield _named_item(_checked_object(fields), place, options)
        except SpeechFleetError as error:
            yield BadItem(place, error.message)


def _named_item(fields: dict[str, Any], place: str, options: ReadOptions) -> Item:
    if "text" in fields and "id" in fields and not options.columns:
        return from_fields(fields, place)
    cleaned = {clean_name(name): value for name, value in fields.items()}
    if len(cleaned) < len(fields):
        raise InvalidRequest("two of its fields have one name but for case or blanks")
    return from_fields(_columns_of(tuple(cleaned), options).rename(cleaned), place)


@lru_cache(maxsize=256)
def _columns_of(names: tuple[str, ...], options: ReadOptions) -> Columns:
    return find_columns(names, options, what=FIELD)


def _openai(source: TextFile, options: ReadOptions) -> Iterator[Found]:
    """Read OpenAI's batch form: ``{"custom_id", "method", "url", "body"}``."""
    return _each_line(source, _openai_item)


def _openai_item(line: str, place: str) -> Item:
    asked = _object(line)
    id, url, body = asked.get("custom_id"), asked.get("url"), asked.get("body")
    method = asked.get("method", "POST")
    if not isinstance(id, str) or not id:
        raise InvalidRequest("there is no 'custom_id'")
    if str(method).upper() != "POST" or not _is_speech(url):
        raise InvalidRequest(f"it asks for {method} {url}: only POST {_SPEECH_PATH} is speech")
    if not isinstance(body, dict) or not isinstance(body.get("input"), str):
        raise InvalidRequest("its 'body' has no text as 'input'")
    fields = {name: value for name, value in body.items() if name != "stream_format"}
    fields["text"] = fields.pop("input")
    if "response_format" in fields:
        fields["format"] = fields.pop("response_format")
    if isinstance(model := fields.get("model"), str) and "/" not in model:
        fields["model"] = f"openai/{model}"
    match fields.get("voice"):
        case {"id": str(voice)}:
            fields["voice"] = voice
    return from_fields({**fields, "id": id}, place)


def _is_speech(url: object) -> bool:
    try:
        return urlsplit(str(url)).path.rstrip("/") == _SPEECH_PATH
    except ValueError:
        return False


def _list(format: str) -> Callable[[TextFile, ReadOptions], Iterator[Found]]:
    return lambda source, options: file_lists.read_list(source, format, options)


def _csv(source: TextFile, options: ReadOptions) -> Iterator[Found]:
    """Read rows under a header with ``text``, and any of ``id``, fields and options."""
    return tables.read_table(source, tables.delimiter_of(source, options) or ",", options)


def _tsv(source: TextFile, options: ReadOptions) -> Iterator[Found]:
    """Read the same between tabs, where a quotation mark is part of the text."""
    return tables.read_table(source, options.separator or "\t", options)


def _lines(source: TextFile, options: ReadOptions) -> Iterator[Found]:
    """Read an item from each line."""
    return _each_line(source, _text)


def _text(text: str, place: str) -> Item:
    return Item("", text.strip(), {}, place)


def _paragraphs(source: TextFile, options: ReadOptions) -> Iterator[Found]:
    """Read an item from each paragraph: the lines between two blank ones."""
    lines: list[str] = []
    place = ""
    for line in _with_end(source.lines()):
        if isinstance(line, BadItem):
            yield line
            continue
        number, text = line
        if text.strip():
            place = place if lines else source.place(number)
            lines.append(text)
        elif lines:
            yield _text("\n".join(lines), place)
            lines.clear()


def _with_end(lines: Iterable[tuple[int, str] | BadItem]) -> Iterator[tuple[int, str] | BadItem]:
    """Add a last blank line, which ends the last paragraph."""
    yield from lines
    yield 0, ""


READERS: dict[str, Callable[[TextFile, ReadOptions], Iterator[Found]]] = {
    "openai": _openai,
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "tsv": _tsv,
    **{format: _list(format) for format in file_lists.FORMATS},
    "lines": _lines,
    "paragraphs": _paragraphs,
}
