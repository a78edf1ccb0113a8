"""The text of captions in pieces that are never parted, each with its time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from speechfleet.alignment.tokens import IDEOGRAPHS
from speechfleet.record import StoredSegment
from speechfleet.words import Word

LATIN_LINE, CJK_LINE = 42, 16
"""Characters of a line; an ideograph is as wide as two or three letters."""

_CLOSING = r"[^\w\s]*"
_UNIT = re.compile(
    rf"[^\w\s{IDEOGRAPHS}]*[{IDEOGRAPHS}]{_CLOSING}|(?:(?![{IDEOGRAPHS}])\S)+{_CLOSING}"
)
_Time = tuple[float, float, str]
_IS_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")


@dataclass(frozen=True, slots=True)
class Unit:
    """A word with the marks around it, or an ideograph.

    Text in code points of the submitted text, time in seconds of the job's audio. ``row`` numbers
    the lines of the source, ``paragraph`` what captions never run over the end of.
    """

    text: str
    text_start: int
    text_end: int
    start: float
    end: float
    row: int
    paragraph: int
    glued: bool
    """No blank stands between it and the unit before."""
    source: str


def units(
    text: str, segments: Sequence[StoredSegment], words: Iterable[Word], bytes_per_second: int
) -> list[Unit]:
    """Return the units of all segments, in order, each with the time of its words.

    Where a segment has no words at all, its audio is shared out by the length of its units.
    """
    found: list[Unit] = []
    waiting = list(words)
    at = row = before = paragraph = 0
    for segment in segments:
        between = text.count("\n", before, segment.text_start)
        row, before = row + between, segment.text_end
        paragraph += 1 if between else 0
        own: list[Word] = []
        while at < len(waiting) and waiting[at].text_start < segment.text_end:
            own.append(waiting[at])
            at += 1
        bare = list(_bare_units(text, segment, row, paragraph))
        if bare:
            row, paragraph = bare[-1].row, bare[-1].paragraph
        found += _timed(bare, own, segment, bytes_per_second)
    return found


def is_ideograph(text: str) -> bool:
    """Tell whether a unit is of a script that sets no blanks and wide characters."""
    return _IS_IDEOGRAPH.search(text) is not None


def _bare_units(text: str, segment: StoredSegment, row: int, paragraph: int) -> Iterator[Unit]:
    """Yield the units of a segment without times.

    A line that ends within a segment was only wrapped; a blank line ends a paragraph.
    """
    before = segment.text_start
    for match in _UNIT.finditer(text, segment.text_start, segment.text_end):
        for start in range(match.start(), match.end(), LATIN_LINE):
            end = min(start + LATIN_LINE, match.end())
            lines = text.count("\n", before, start)
            row, paragraph = row + lines, paragraph + (1 if lines > 1 else 0)
            glued = start == before and start > segment.text_start
            yield Unit(text[start:end], start, end, 0.0, 0.0, row, paragraph, glued, "estimated")
            before = end


def _timed(
    bare: Sequence[Unit], words: Sequence[Word], segment: StoredSegment, bytes_per_second: int
) -> Iterator[Unit]:
    """Yield the units with the times of their words; those without words share the rest."""
    first, last = segment.start / bytes_per_second, segment.end / bytes_per_second
    known: list[_Time | None] = []
    at = 0
    for unit in bare:
        while at < len(words) and words[at].text_end <= unit.text_start:
            at += 1
        end = at
        while end < len(words) and words[end].text_start < unit.text_end:
            end += 1
        own = words[at:end]
        known.append(
            (own[0].start / bytes_per_second, own[-1].end / bytes_per_second, own[0].source)
            if own
            else None
        )
    yield from _filled(bare, known, first, last)


def _filled(
    bare: Sequence[Unit],
    known: Sequence[_Time | None],
    first: float,
    last: float,
) -> Iterator[Unit]:
    i, at = 0, first
    while i < len(bare):
        if time := known[i]:
            start = max(at, time[0])
            at = max(start, time[1])
            yield replace(bare[i], start=start, end=at, source=time[2])
            i += 1
            continue
        j = i
        while j < len(bare) and known[j] is None:
            j += 1
        following = known[j] if j < len(bare) else None
        until = max(at, following[0] if following else last)
        share = (until - at) / sum(len(unit.text) for unit in bare[i:j])
        for unit in bare[i:j]:
            end = at + share * len(unit.text)
            yield replace(unit, start=at, end=end)
            at = end
        i = j
