"""Tells lines of markdown apart by their beginnings."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

LONGEST_BEGINNING = 256
_INDENT = re.compile(r"[ \t]*+(?:>[ \t]?)*+")
_BEGINNING = re.compile(
    r"(?P<indent>[ \t]*+(?:>[ \t]?)*+)"
    r"(?:(?P<rule>(?:[-*_=][ \t]*){3,}+(?=[\n\r]|\Z))"
    r"|(?P<fence>`{3,}|~{3,})"
    r"|(?P<heading>\#{1,6}[ \t]+)"
    r"|(?P<item>(?:[-*+•‣◦▪][ \t]+(?:\[[ xX]\][ \t]+)?|(?=\d{1,9}[.)][ \t]))(?!\s))"
    r"|(?P<definition>\[[^\]\^\n][^\]\n]{0,100}\]:[ \t])"
    r"|(?P<note>\[\^[^\]\s]{1,60}\]:[ \t]*)"
    r"|(?P<row>(?=\|)))",
)
_UNDECIDED = re.compile(
    r"[ \t]*+(?:>[ \t]?)*+(?:[-*_=\s]*+|`++|~++|\#{1,6}[ \t]*|\d{1,9}[.)]?"
    r"|[-*+•‣◦▪][ \t]+(?:\[[ xX]?\]?[ \t]*)?|\[[^\]\n]{0,101}(?:\]:?[ \t]*)?)\Z"
)


class LineKind(Enum):
    """The kind of a line, by its beginning."""

    TEXT = auto()
    RULE = auto()
    FENCE = auto()
    HEADING = auto()
    ITEM = auto()
    DEFINITION = auto()
    NOTE = auto()
    ROW = auto()


class Beginning(NamedTuple):
    """The kind of a line; its text begins at ``end``. ``mark``: of a fence."""

    kind: LineKind
    end: int
    mark: str = ""


def beginning(text: str, at: int, *, final: bool) -> Beginning | None:
    """Tell what the line at ``at`` is; None where more of the text is needed."""
    limit = min(len(text), at + LONGEST_BEGINNING)
    is_open = not final and limit == len(text) and limit - at < LONGEST_BEGINNING
    if is_open and _UNDECIDED.match(text, at, limit):
        return None
    found = _BEGINNING.match(text, at, limit)
    if found is None:
        indent = _INDENT.match(text, at, limit)
        assert indent is not None
        return Beginning(LineKind.TEXT, indent.end())
    kind = LineKind[(found.lastgroup or "text").upper()]
    return Beginning(kind, found.end(), found["fence"] or "")
