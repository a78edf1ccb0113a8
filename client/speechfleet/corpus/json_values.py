"""JSON that is not one object a line: an array, or objects over several lines each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from speechfleet.corpus.item import BadItem
from speechfleet.corpus.text_file import LINE_BYTES, TextFile
from speechfleet.errors import InvalidRequest

_BETWEEN = re.compile(r"[\s,\[\]]*")
_DECODER = json.JSONDecoder()


def is_array(line: str) -> bool:
    """Return True if a file that begins with this line is an array of objects."""
    return re.match(r"\s*\[\s*(\{|$)", line) is not None


def is_spread(line: str) -> bool:
    """Return True if a file that begins with this line has objects over several lines."""
    return line.strip() == "{"


def read_values(source: TextFile) -> Iterator[tuple[str, Any] | BadItem]:
    """Yield (place, value) of each value; a BadItem, and no more, where this is no JSON.

    Memory is bounded by the longest value.
    """
    values = _Values(source)
    try:
        yield from values.read()
    except InvalidRequest as error:
        yield BadItem(source.place(values.line), error.message)


class _Values:
    """Read values that follow one another. ``line``: the line where reading is."""

    def __init__(self, source: TextFile) -> None:
        self._source = source
        self._pieces = source.text()
        self._buffer = ""
        self._at = 0
        self.line = 1

    def read(self) -> Iterator[tuple[str, Any]]:
        """Raises InvalidRequest where what follows is no JSON."""
        while self._skip():
            place = self._source.place(self.line)
            value, end = self._value()
            self._pass(end)
            yield place, value

    def _skip(self) -> bool:
        """Go to the next value; False at the end."""
        while True:
            match = _BETWEEN.match(self._buffer, self._at)
            assert match is not None
            self._pass(match.end())
            if self._at < len(self._buffer):
                return True
            if not self._more():
                return False

    def _value(self) -> tuple[Any, int]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise InvalidRequest("this JSON is nested too deeply") from None
            except ValueError as error:
                missing = error
            else:
                if end < len(self._buffer) or not self._more():  # a number may go on
                    return value, end
                continue
            size = len(self._buffer) - self._at
            if size > LINE_BYTES or not self._more(size):
                raise InvalidRequest(f"this is not JSON: {missing}") from None

    def _more(self, size: int = 1) -> bool:
        """Read at least so many characters more; False at the end of the file.

        The buffer doubles, so that a long value is not parsed too often.
        """
        pieces = []
        read = 0
        while read < size and (piece := next(self._pieces, "")):
            pieces.append(piece)
            read += len(piece)
        if not pieces:
            return False
        self._buffer = self._buffer[self._at :] + "".join(pieces)
        self._at = 0
        return True

    def _pass(self, end: int) -> None:
        self.line += self._buffer.count("\n", self._at, end)
        self._at = end
