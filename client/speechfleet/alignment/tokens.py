"""The words of a text as they are timed: letters and digits, a CJK character each."""

from __future__ import annotations

import re
from typing import NamedTuple

# Written without blanks: a word of these scripts is not seen without a dictionary.
IDEOGRAPHS = (
    "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(
    rf"[{IDEOGRAPHS}]|(?:(?![{IDEOGRAPHS}])\w)+(?:[-'’.,:](?:(?![{IDEOGRAPHS}])\w)+)*"
)


class Token(NamedTuple):
    """A word of a text: its code points [start, end)."""

    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Return the words of a text, in order. Marks within a word ("3.5", "don't") belong to it."""
    return [Token(*match.span()) for match in _TOKEN.finditer(text)]
