"""Cuts sentences that are longer than a provider takes in one call."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from speechfleet_worker.segmentation.graphemes import last_break
from speechfleet_worker.segmentation.marks import CLAUSE, SPACE
from speechfleet_worker.segmentation.text_segment import CutReason


def cut_at_limit(
    text: str, start: int, end: int, limit: int, count: Callable[[str], int]
) -> tuple[int, CutReason]:
    """Find where to cut a sentence from ``start`` on, which is above the limit before ``end``.

    As late as fits: behind a clause mark in the second half, else between words, else behind any
    clause mark, else between graphemes. Raises ValueError where not one character fits.
    """
    fit = _last_that_fits(text, start, end, limit, count)
    clauses = (mark.end() for mark in CLAUSE.finditer(text, start, fit + 1))
    clause = max((position for position in clauses if position <= fit), default=start)
    if clause > (start + fit) // 2:
        return clause, CutReason.CLAUSE
    space = max((gap.start() for gap in SPACE.finditer(text, start, fit + 1)), default=start)
    if max(space, clause) > start:
        return max(space, clause), CutReason.WORD if space > clause else CutReason.CLAUSE
    return last_break(text, start, fit), CutReason.CHARACTER


def _last_that_fits(
    text: str, start: int, end: int, limit: int, count: Callable[[str], int]
) -> int:
    """Find the last position up to which the sentence fits into the limit."""
    size = 1
    while start + size < end and count(text[start : start + size]) <= limit:
        size *= 2
    positions = range(start + 1, min(start + size, end) + 1)
    fit = start + bisect_right(positions, limit, key=lambda q: count(text[start:q]))
    if fit == start:
        raise ValueError(f"{text[start]!r} alone is above the limit of {limit}")
    return fit
