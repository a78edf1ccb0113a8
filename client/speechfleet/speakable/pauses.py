"""Pauses that are written into a text: ``[pause 1.5s]`` and ``<break time="500ms"/>``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from speechfleet.errors import InvalidRequest

MAX_PAUSE_S = 60.0
"""The longest pause, in seconds."""
LONGEST_MARK = 80
"""Code points within which a mark ends."""
MARK = re.compile(
    r"""\[pause\ +(?P<number>\d{1,6}(?:\.\d{1,6})?)\ *
        (?P<unit>ms|s|sec|seconds?|m|min|minutes?)?\ *\]
    |<break\s+(?:strength\s*=\s*["'][\w-]{1,20}["']\s+)?time\s*=\s*["']
     (?P<number_of_tag>\d{1,6}(?:\.\d{1,6})?)(?P<unit_of_tag>ms|s)["']\s*/?>(?:</break>)?""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence of ``seconds`` before the spoken position ``at``; [start, end) is its mark."""

    at: int
    seconds: float
    start: int
    end: int


def seconds_of(mark: re.Match[str]) -> float:
    """Return the length of a pause, at most `MAX_PAUSE_S`: a growing text cannot be refused."""
    return min(_asked_for(mark), MAX_PAUSE_S)


def check_pauses(text: str) -> None:
    """Raise InvalidRequest, with the position, for a pause that is too long."""
    for mark in MARK.finditer(text):
        if _asked_for(mark) > MAX_PAUSE_S:
            raise InvalidRequest(
                f"{mark[0]!r} at position {mark.start()} is longer than {MAX_PAUSE_S:g} s: "
                "write a shorter pause, or submit two jobs",
                code="pause_too_long",
            )


def _asked_for(mark: re.Match[str]) -> float:
    number = float(mark["number"] or mark["number_of_tag"])
    unit = (mark["unit"] or mark["unit_of_tag"] or "s").lower()
    if unit == "ms":
        return number / 1000
    return number * 60 if unit.startswith("m") else number
