"""The rows of a table, which are spoken as "title: cell, title: cell."."""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST_ROW = 8192
"""Code points up to which a line is read as the row of a table."""
_DELIMITER = re.compile(r"[ \t]*+\|?(?:[ \t]*+:?-++:?[ \t]*+\|)++(?:[ \t]*+:?-++:?)?[ \t]*+")
_CELL = re.compile(r"(?:[^|\\]++|\\.?)*+", re.DOTALL)


class Cell(NamedTuple):
    """A cell with something in it, at [start, end) of the text; ``column`` counts from 0."""

    column: int
    start: int
    end: int


def is_delimiter(text: str, start: int, end: int) -> bool:
    """Tell whether a line is the one below a table's titles."""
    return _DELIMITER.fullmatch(text, start, end) is not None


def cells(text: str, start: int, end: int) -> list[Cell]:
    """Return the cells of a row, without the blanks around them, and without empty ones."""
    found: list[Cell] = []
    column = 0
    at = start + 1 if text[start : start + 1] == "|" else start
    while at < end:
        cell = _CELL.match(text, at, end)
        assert cell is not None
        body = cell[0].strip()
        if body:
            first = at + cell[0].index(body)
            found.append(Cell(column, first, first + len(body)))
        column += 1
        at = cell.end() + 1
    return found


class Table:
    """The titles of the table that is being read. ``language``: a tag, which decides the marks."""

    def __init__(self, language: str) -> None:
        is_wide = language[:2].lower() in ("zh", "ja") or language[:3].lower() in ("cmn", "yue")
        self._colon, self.comma, self.stop = ("：", "，", "。") if is_wide else (": ", ", ", ". ")
        self._titles: list[str] | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether a row was read, and its table has not ended."""
        return self._titles is not None

    def begin(self, titles: list[str]) -> None:
        """Begin a table with these titles, [] for none."""
        self._titles = titles

    def end(self) -> None:
        """End the table."""
        self._titles = None

    def title(self, column: int) -> str:
        """Return what is spoken before the cell of a column."""
        titles = self._titles or []
        title = titles[column] if column < len(titles) else ""
        return title + self._colon if title else ""
