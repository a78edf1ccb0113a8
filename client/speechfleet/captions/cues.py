"""Put units together to cues: the cheapest way to cut each paragraph, by the rules for subtitles.

At most two lines of 42 characters (16 of CJK), 1 to 7 seconds, at most 17 characters a second;
cut behind a sentence, else a clause, else a word.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from speechfleet.captions.units import CJK_LINE, LATIN_LINE, Unit, is_ideograph

LINES = 2
SHORTEST_S, LONGEST_S = 1.0, 7.0
FASTEST = 17.0
"""Characters a second that are read with ease."""
_SENTENCE_MARKS = frozenset(".!?…。！？")
_CLAUSE_MARKS = frozenset(",;:–—，、；：")
_QUOTES = "\"'”’»«)]）」』"
# What a cue costs by itself, and where it is cut: a sentence in one cue is worth more than
# fewer cues, and a clause more than a full line.
_CUE, _AT_CLAUSE, _AT_WORD = 1.0, 1.5, 4.0
_TOO_SHORT, _TOO_FAST = 6.0, 0.4
_SENTENCE_WITHIN = 1.5
"""The cost of a sentence end within a cue: a long sentence gets a cue of its own."""
_LINE_AT_WORD = 12
"""Characters that the lines may differ by, where the first then ends with a sentence."""
_PAUSE_S = 0.4
"""A silence at which a cue ends as well as at a clause."""
_LONG_PAUSE_S = 1.5
"""A silence that no cue is held over."""


@dataclass(frozen=True, slots=True)
class Cue:
    """The text that is seen from ``start`` to ``end`` (seconds); a list of units a line."""

    start: float
    end: float
    lines: tuple[tuple[Unit, ...], ...]

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units, in order."""
        return tuple(unit for line in self.lines for unit in line)


def by_line(units: Sequence[Unit], duration: float) -> list[Cue]:
    """Return cues by the rules above, in order; ``duration``: seconds of the whole audio."""
    if not units:
        return []
    paragraphs = [
        _Paragraph(list(group)) for _, group in groupby(units, key=lambda unit: unit.paragraph)
    ]
    groups = [(part, *group) for part in paragraphs for group in part.groups()]
    begins = [part.begin(start) for part, start, _ in groups]
    rooms = [*begins[1:], max(duration, units[-1].end)]
    return [
        part.cue(start, end, room) for (part, start, end), room in zip(groups, rooms, strict=True)
    ]


def by_word(units: Sequence[Unit]) -> list[Cue]:
    """Return a cue a unit, for captions that follow the voice word by word."""
    return [Cue(unit.start, unit.end, ((unit,),)) for unit in units]


def joined(units: Sequence[Unit]) -> str:
    """Return the text of units on one line."""
    return "".join(
        unit.text if unit.glued or not i else f" {unit.text}" for i, unit in enumerate(units)
    )


class _Paragraph:
    """Units that cues may be cut from; a group of them is units[start:end]."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = units
        self._begins: list[int] = []  # of each unit, in the paragraph on one line
        self._ends: list[int] = []
        at = 0
        for unit in units:
            at += 0 if unit.glued or not self._ends else 1
            self._begins.append(at)
            at += len(unit.text)
            self._ends.append(at)
        ends = (_mark(unit) in _SENTENCE_MARKS for unit in units)
        self._sentences = [0, *accumulate(ends)]
        """Of each unit, the number of sentences that end before it."""
        wide = sum(is_ideograph(unit.text) for unit in units)
        self._line = CJK_LINE if 2 * wide > len(units) else LATIN_LINE

    def groups(self) -> list[tuple[int, int]]:
        """Return the groups, one a cue, so that the sum of their costs is least."""
        count = len(self._units)
        best = [0.0] + [float("inf")] * count
        begin = [0] * (count + 1)
        for start in range(count):
            for end in range(start + 1, count + 1):
                if end > start + 1 and not self._fits(start, end):
                    break
                cost = best[start] + self._cost(start, end)
                if cost < best[end]:
                    best[end], begin[end] = cost, start
        found: list[tuple[int, int]] = []
        at = count
        while at > 0:
            found.append((begin[at], at))
            at = begin[at]
        return found[::-1]

    def cue(self, start: int, end: int, room: float) -> Cue:
        """Return the cue of a group, held until it can be read or ``room`` (seconds) ends."""
        first, last = self._units[start].start, self._units[end - 1].end
        wanted = first + max(SHORTEST_S, min(self._size(start, end) / FASTEST, LONGEST_S))
        cuts = [start, *self._break(start, end), end]
        lines = tuple(tuple(self._units[a:b]) for a, b in pairwise(cuts))
        return Cue(first, max(last, min(wanted, room)), lines)

    def begin(self, index: int) -> float:
        """Return the second at which a unit begins."""
        return self._units[index].start

    def _size(self, start: int, end: int) -> int:
        return self._ends[end - 1] - self._begins[start]

    def _fits(self, start: int, end: int) -> bool:
        first, before, last = (self._units[i] for i in (start, end - 2, end - 1))
        if last.end - first.start > LONGEST_S or last.start - before.end >= _LONG_PAUSE_S:
            return False
        return self._size(start, end) <= self._line or bool(self._break(start, end))

    def _break(self, start: int, end: int) -> list[int]:
        """Return where the second line begins, the two as even as can be; [] for one line."""
        if self._size(start, end) <= self._line:
            return []
        # The second line begins where the first has no more room, or before.
        last = bisect_right(self._ends, self._begins[start] + self._line, start, end)
        ways = []
        for k in range(last, start, -1):
            if self._size(k, end) > self._line:
                break
            longest = max(self._size(start, k), self._size(k, end))
            ways.append((longest + _LINE_AT_WORD * (self._cost_of_cut(k) / _AT_WORD), k))
        return [min(ways)[1]] if ways else []

    def _cost(self, start: int, end: int) -> float:
        is_last = end == len(self._units)
        until = self._units[end - 1].end if is_last else self._units[end].start
        seconds = max(until - self._units[start].start, 0.05)
        cost = _CUE + (0.0 if is_last else self._cost_of_cut(end))
        cost += _SENTENCE_WITHIN * (self._sentences[end - 1] - self._sentences[start])
        if seconds < SHORTEST_S:
            cost += _TOO_SHORT * (SHORTEST_S - seconds)
        return cost + _TOO_FAST * max(0.0, self._size(start, end) / seconds - FASTEST)

    def _cost_of_cut(self, at: int) -> float:
        last, following = self._units[at - 1], self._units[at]
        mark = _mark(last)
        if mark in _SENTENCE_MARKS:
            return 0.0
        if mark in _CLAUSE_MARKS or following.start - last.end >= _PAUSE_S:
            return _AT_CLAUSE
        return _AT_WORD


def _mark(unit: Unit) -> str:
    """Return the mark that a unit ends with, before any quotes; "" where it is only quotes."""
    return unit.text.rstrip(_QUOTES)[-1:]
