"""Tables with a header: CSV with any delimiter, and TSV, which does not quote."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from speechfleet.corpus.columns import (
    FILE_NAMES,
    ID_NAMES,
    Columns,
    check_distinct,
    clean_name,
    find_columns,
    has_text,
)
from speechfleet.corpus.item import REQUEST_FIELDS, BadItem, Item, from_fields
from speechfleet.corpus.read_options import ReadOptions
from speechfleet.corpus.text_file import LINE_BYTES, TextFile
from speechfleet.errors import InvalidRequest, SpeechFleetError

QUOTING = {",", ";"}
"""Delimiters whose tables quote; a quotation mark in any other table is part of the text."""
CANDIDATES = (",", "\t", ";", "|")
TEXT_FIELDS = {"id", "text", *REQUEST_FIELDS} - {"cache", "loudness"}
"""Fields whose cells are text, whatever they look like."""
ROW_LINES = 10_000
"""Lines that one quoted cell may have."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_QUOTED_CELL = re.compile(r'"(?:[^"]|"")*"')


def separator_line(line: str) -> str:
    """Return the delimiter that Excel's first line ``sep=;`` names; "" for any other line."""
    match = _SEPARATOR_LINE.fullmatch(line.lstrip("\ufeff"))
    return match[1] if match else ""


def delimiter_of(source: TextFile, options: ReadOptions) -> str:
    """Return the delimiter under which the first line is a header with a text; "" for none."""
    line = source.head_lines[0]
    if delimiter := options.separator or separator_line(line):
        return delimiter
    widths = {}
    for delimiter in CANDIDATES:
        names = [clean_name(name) for name in split_cells(line, delimiter)]
        if has_text(names, options):
            widths[delimiter] = len(names)
    return max(widths, key=lambda delimiter: widths[delimiter], default="")


def has_header(source: TextFile, options: ReadOptions, *, is_text_file: bool) -> bool:
    """Return True if the first line names a text; in a .txt one word or a sentence does not."""
    line = source.head_lines[0]
    if separator_line(line):
        return True
    delimiter = delimiter_of(source, options)
    if not delimiter:
        return False
    names = [clean_name(name) for name in split_cells(line, delimiter)]
    if not has_text(names, options):
        return False
    if options.text_column or "text" in names:
        return True
    others = {*ID_NAMES, *FILE_NAMES, *REQUEST_FIELDS}
    is_prose = is_text_file and delimiter in QUOTING and not others.intersection(names)
    return len(names) > 1 and not is_prose


def split_cells(line: str, delimiter: str) -> list[str]:
    """Split a line at the delimiter by the rules of its kind of table."""
    if delimiter not in QUOTING:
        return [_unquoted(cell) for cell in line.split(delimiter)]
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def read_table(source: TextFile, delimiter: str, options: ReadOptions) -> Iterator[Item | BadItem]:
    """Yield an item a row; with columns given by number the table has no header."""
    csv.field_size_limit(LINE_BYTES)
    columns: Columns | None = None
    names: list[str] = []
    for row in _rows(source, delimiter):
        if isinstance(row, BadItem):
            yield row
        elif not any(cell.strip() for cell in row.cells):
            continue
        elif columns is None and not options.has_numbers:
            names = _header(source, row, delimiter)
            columns = _columns(source, row, names, options)
        else:
            if columns is None:
                names = [str(number) for number in range(1, len(row.cells) + 1)]
                columns = _columns(source, row, names, options)
            yield _item(columns, names, row)


@dataclass(frozen=True)
class Row:
    """Hold the cells of one row. ``lines``: the lines of the file that it takes."""

    number: int
    place: str
    cells: list[str]
    delimiter: str
    lines: list[str] = field(default_factory=list)


def _rows(source: TextFile, delimiter: str) -> Iterator[Row | BadItem]:
    quotes = delimiter in QUOTING
    first, size = True, 0
    pending: list[tuple[int, str]] = []
    for line in source.lines():
        if isinstance(line, BadItem):
            yield from _given_up(source, pending)
            pending.clear()
            yield line
            continue
        number, text = line
        if first and text.strip():
            first = False
            if separator_line(text):
                continue
        if not quotes:
            yield Row(number, source.place(number), split_cells(text, delimiter), delimiter)
            continue
        pending.append(line)
        size += len(text)
        inside = _ends_inside(text, delimiter, inside=len(pending) > 1)
        if inside and len(pending) < ROW_LINES and size < LINE_BYTES:
            continue
        yield from _row(source, pending, delimiter, closed=not inside)
        pending.clear()
        size = 0
    if pending:
        yield from _row(source, pending, delimiter, closed=False)


def _row(
    source: TextFile, pending: list[tuple[int, str]], delimiter: str, *, closed: bool
) -> Iterator[Row | BadItem]:
    """Yield one row of CSV; where it is none, a BadItem for each of its lines."""
    number = pending[0][0]
    lines = [text for _, text in pending]
    place = source.place(number)
    if not closed:
        yield BadItem(place, "this is no CSV: a quotation mark is never closed")
        yield from _given_up(source, pending[1:])
        return
    try:
        [cells] = csv.reader(["\n".join(lines) + "\n"], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError) as error:
        yield BadItem(place, f"this is no CSV: {error}")
        yield from _given_up(source, pending[1:])
        return
    yield Row(number, place, cells, delimiter, lines)


def _given_up(source: TextFile, pending: list[tuple[int, str]]) -> Iterator[BadItem]:
    for number, _ in pending:
        yield BadItem(source.place(number), "it belongs to a row that cannot be read")


def _ends_inside(line: str, delimiter: str, *, inside: bool) -> bool:
    """Return True if a quoted cell is still open at the end of a line of CSV."""
    at, at_start = 0, True
    while True:
        if not inside:
            if at_start and line.startswith('"', at):
                inside, at = True, at + 1
            else:
                at = line.find(delimiter, at) + 1
                if at == 0:
                    return False
                at_start = True
                continue
        at = line.find('"', at)
        if at < 0:
            return True
        if line.startswith('"', at + 1):
            at += 2
        else:
            inside, at_start, at = False, False, at + 1


def _header(source: TextFile, row: Row, delimiter: str) -> list[str]:
    names = [clean_name(name) for name in row.cells]
    while names and not names[-1]:
        names.pop()
    try:
        check_distinct(names)
    except InvalidRequest as error:
        raise InvalidRequest(f"{row.place}: {error.message}") from None
    return names


def _columns(source: TextFile, row: Row, names: list[str], options: ReadOptions) -> Columns:
    try:
        return find_columns(names, options)
    except InvalidRequest as error:
        used = {"\t": "a tab"}.get(row.delimiter, repr(row.delimiter))
        raise InvalidRequest(
            f"{row.place}: {error.message} (columns are split at {used}; --delimiter sets "
            "another, --text-column 2 is for a table without header)"
        ) from None


def _item(columns: Columns, names: list[str], row: Row) -> Item | BadItem:
    cells = _fitted(row, len(names))
    if cells is None:
        return BadItem(row.place, f"it has {len(row.cells)} columns, the header {len(names)}")
    if _looks_swallowed(row, len(names)):
        return BadItem(
            row.place,
            f"a quotation mark opens here and closes {len(row.lines) - 1} lines below, and each "
            'line between looks like a row: write " within a quoted text as ""',
        )
    named = {name: cell for name, cell in zip(names, cells, strict=True) if name and cell.strip()}
    fields = columns.rename({**named, columns.text: named.get(columns.text)})
    try:
        return from_fields({name: _value(name, cell) for name, cell in fields.items()}, row.place)
    except SpeechFleetError as error:
        return BadItem(row.place, error.message)


def _fitted(row: Row, width: int) -> list[str] | None:
    """Drop surplus empty cells; return None if the cells do not fit the header."""
    cells = row.cells
    if len(row.lines) == 1 and any(cell.startswith(' "') for cell in cells):
        # Some programs write a blank behind the delimiter, before the quotation mark.
        reader = csv.reader(row.lines, delimiter=row.delimiter, strict=True, skipinitialspace=True)
        try:
            cells = next(reader, cells)
        except csv.Error:
            cells = row.cells
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    return cells if len(cells) == width else None


def _looks_swallowed(row: Row, width: int) -> bool:
    """Return True if a cell of several lines may be rows between two stray quotation marks."""
    if len(row.lines) < 2:
        return False
    split = [line.split(row.delimiter) for line in row.lines]
    shape = _shape(split[0][0])
    return all(len(cells) >= width and _shape(cells[0]) == shape for cells in split)


def _shape(cell: str) -> str:
    """Make letters and numbers of a cell alike: ids of one table have one shape."""
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]", "a", cell.strip()))


def _unquoted(cell: str) -> str:
    """Unquote a cell of a table that does not quote: Excel quotes there all the same."""
    cell = cell.strip() if cell.startswith(" ") else cell
    if len(cell) > 1 and _QUOTED_CELL.fullmatch(cell):
        return cell[1:-1].replace('""', '"')
    return cell


def _value(name: str, cell: Any) -> Any:
    """Return the value of a cell: text, or for an option a JSON value."""
    if name in TEXT_FIELDS or not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        return cell
