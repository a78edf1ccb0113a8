"""The segments of a text that is still being written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from speechfleet_worker.segmentation.guessed_rules import GuessedRules
from speechfleet_worker.segmentation.limits import cut_at_limit
from speechfleet_worker.segmentation.line_breaks import LOOK_BEHIND, BreakJudge
from speechfleet_worker.segmentation.marks import (
    BREAKS,
    END,
    LINES,
    SPACE,
    SPEAKABLE,
    STOPPED,
)
from speechfleet_worker.segmentation.sentence_ends import (
    CONTEXT,
    HOLD_BACK,
    Terminator,
    is_list_mark,
)
from speechfleet_worker.segmentation.text_segment import CutReason, TextSegment

_KEPT_BEHIND = LOOK_BEHIND + 2
_CLOSING_SIGNS = 20
"""Code points before a line end that are searched for a terminator and what closes behind it."""
_FIRST_CHECK = 64
"""Code points of a sentence after which it is first compared with the limit."""


class _End(NamedTuple):
    """A possible end of a sentence. Not ``certain``: it ends here or later."""

    position: int
    certain: bool
    reason: CutReason = CutReason.SENTENCE


class SentenceStream:
    """Sentences out of a text that is still being written.

    `feed` takes what was added and returns the sentences that are now certain; `flush` says
    that no more is coming, or that what is there is to be spoken as it is. However the text is
    divided among calls of `feed`, the segments are the same, and those of `cut` in sentence
    mode. Without a ``language`` each full stop is judged by the language of the text before it.
    """

    def __init__(
        self, *, limit: int, count: Callable[[str], int] = len, language: str = ""
    ) -> None:
        if limit < 1:
            raise ValueError(f"a limit of {limit} leaves no room for text")
        self._limit = limit
        self._count = count
        self._rules = GuessedRules(language)
        self._tail = ""  # the end of what was fed; positions below are in it
        self._before = 0  # code points before the tail
        self._start = 0  # of the sentence that is looked for
        self._seen = 0  # the sentence does not end before
        self._speakable: int | None = None  # where the sentence's first letter or digit is
        self._searched = 0  # no letter or digit of the sentence lies before
        self._checked = min(_FIRST_CHECK, limit)  # where the limit is next compared with
        self._breaks = BreakJudge()
        self._index = 0
        self._paragraph = 0
        self._within = False  # whether the current paragraph has begun

    def feed(self, delta: str) -> list[TextSegment]:
        """Take more text (never what was fed before); return the sentences that it completed."""
        self._tail += delta
        self._rules.feed(delta)
        return self._advance(final=False)

    def flush(self) -> list[TextSegment]:
        """Return all that is left. The text may go on afterwards, in a new paragraph."""
        segments = self._advance(final=True)
        self._end_paragraph()
        return segments

    def _advance(self, *, final: bool) -> list[TextSegment]:
        segments: list[TextSegment] = []
        while self._skip_space(final):
            end = self._find_end(final)
            if self._is_above_limit(end.position):
                cut, reason = cut_at_limit(
                    self._tail, self._start, end.position, self._limit, self._count
                )
                end = _End(cut, certain=True, reason=reason)
            if not end.certain:
                break
            text = self._tail[self._start : end.position].rstrip()
            if self._is_speakable(self._start + len(text)):
                segments.append(self._segment(text, end.reason))
            self._within = True
            self._begin(end.position)
        self._forget()
        return segments

    def _segment(self, text: str, reason: CutReason) -> TextSegment:
        start = self._before + self._start
        segment = TextSegment(self._index, start, start + len(text), text, self._paragraph, reason)
        self._index += 1
        return segment

    def _begin(self, position: int) -> None:
        """Look for the sentence that begins at ``position`` from now on."""
        self._start = self._seen = self._searched = position
        self._speakable = None
        self._checked = position + min(_FIRST_CHECK, self._limit)

    def _end_paragraph(self) -> None:
        self._paragraph += self._within
        self._within = False

    def _skip_space(self, final: bool) -> bool:
        """Go to where the next sentence starts; tell if there is one, in a known paragraph."""
        if self._seen > self._start:
            return True  # within a sentence
        space = SPACE.match(self._tail, self._start)
        if space is None:
            return self._start < len(self._tail)
        if self._within and (lines := LINES.search(self._tail, *space.span())):
            wrapped = self._is_wrapped(lines.start(), lines.end(), final)
            if wrapped is None:
                return False
            if not wrapped:
                self._end_paragraph()
        self._begin(space.end())
        return self._start < len(self._tail)

    def _forget(self) -> None:
        """Drop what was cut, except for what `is_wrapped` looks back on."""
        dropped = max(0, self._start - _KEPT_BEHIND)
        self._tail = self._tail[dropped:]
        self._before += dropped
        self._start -= dropped
        self._seen, self._searched = self._seen - dropped, self._searched - dropped
        self._checked -= dropped
        if self._speakable is not None:
            self._speakable -= dropped

    # --- where a sentence ends

    def _find_end(self, final: bool) -> _End:
        """Find the sentence's end, or where it cannot end before, as far as the text is known."""
        for match in END.finditer(self._tail, self._seen):
            if match.start() > self._checked and self._is_above_limit(match.start()):
                return _End(match.start(), certain=False)
            lines = match["lines"] is not None
            end = self._at_lines(match, final) if lines else self._at_stops(match, final)
            if end is not None:
                return end
            self._seen = match.end()
        self._seen = len(self._tail)
        return _End(len(self._tail), certain=final, reason=CutReason.TEXT)

    def _at_lines(self, lines: re.Match[str], final: bool) -> _End | None:
        wrapped = self._is_wrapped(lines.start(), lines.end(), final)
        if wrapped:
            return None
        start = max(self._start, lines.start() - _CLOSING_SIGNS)
        known = (
            final
            or lines.end() < len(self._tail)
            or STOPPED.search(self._tail, start, lines.start())
        )
        certain = wrapped is not None and bool(known)
        return _End(lines.start(), certain=certain, reason=CutReason.PARAGRAPH)

    def _at_stops(self, stops: re.Match[str], final: bool) -> _End | None:
        position = following = stops.end()
        if position == len(self._tail):
            return None if final else _End(position, certain=False)
        wrapped: bool | None = True
        if self._tail[position] in BREAKS:
            lines = LINES.match(self._tail, position)
            assert lines is not None
            wrapped = self._is_wrapped(position, lines.end(), final)
            if wrapped is False:
                return _End(position, certain=True)
            following = lines.end()
        if not final and following + HOLD_BACK > len(self._tail):
            is_sure = following == position and self._is_boundary(stops, following, early=True)
            return _End(position, certain=is_sure)
        if self._is_boundary(stops, following):
            return _End(position, certain=True)
        return None if wrapped else _End(position, certain=False)

    def _is_boundary(self, stops: re.Match[str], following: int, *, early: bool = False) -> bool:
        """Tell if a sentence ends here; ``early``: whatever comes behind the next word."""
        terminator, place = self._terminator(stops, following), self._before + following
        if terminator is None:
            return False
        rules = self._rules.before(place) if early else self._rules.at(place)
        if rules is None:
            return False
        return rules.surely_ends(terminator) if early else rules.ends(terminator)

    def _terminator(self, stops: re.Match[str], following: int) -> Terminator | None:
        """Return terminators that a sentence may end with; None for one without a word."""
        closed = stops.end("closers")
        if not self._is_speakable(closed):
            return None
        assert self._speakable is not None
        if is_list_mark(self._tail[self._speakable : closed][:8]):
            return None
        start = max(self._start, stops.start() - CONTEXT)
        return Terminator(
            before=self._tail[start : stops.start()],
            stops=stops["stops"],
            closers=stops["closers"],
            following=self._tail[following : following + HOLD_BACK],
            joined=following == closed,
        )

    def _is_speakable(self, end: int) -> bool:
        """Tell if the sentence has a letter or a digit before ``end``."""
        if self._speakable is None:
            found = SPEAKABLE.search(self._tail, self._searched, end)
            self._searched = max(self._searched, end)
            self._speakable = found.start() if found else None
        return self._speakable is not None and self._speakable < end

    def _is_wrapped(self, start: int, end: int, final: bool) -> bool | None:
        return self._breaks.is_wrapped(self._tail, start, end, before=self._before, final=final)

    # --- the limit

    def _is_above_limit(self, position: int) -> bool:
        """Compare the sentence up to ``position`` with the limit; each time twice as far."""
        above = self._count(self._tail[self._start : position].rstrip()) > self._limit
        if not above:
            self._checked = max(self._checked, 2 * position - self._start)
        return above
