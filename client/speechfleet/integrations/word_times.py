"""Times for each word of a text that is still being spoken, in the order of the text.

Where the fleet knows a segment's words (`Chunk.words`), these are they. Elsewhere the time of the
segment, which is exact, is shared out by the length of its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.chunks import Chunk
from speechfleet.words import Mark

_UNSPACED = r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_WORD = re.compile(
    rf"{_UNSPACED}[^\w\s]*|(?:(?!{_UNSPACED})[^\w\s])*(?:(?!{_UNSPACED})\w)(?:(?!{_UNSPACED})\S)*"
)
"""A character of a script that is written without spaces, or what lies between spaces."""


@dataclass(frozen=True, slots=True)
class TimedText:
    """A word with the spaces and marks behind it, and its seconds in the audio of the whole text.

    The texts of all of them, one behind the other, are the text that was spoken.
    """

    text: str
    start: float
    end: float

    @property
    def is_unspaced(self) -> bool:
        """True for a script that is written without spaces between its words."""
        return re.search(_UNSPACED, self.text) is not None


class WordTimes:
    """Finds the words that became known with each chunk of one speech."""

    def __init__(self) -> None:
        self._open: list[Mark] = []
        self._text_end = 0

    def take(self, chunk: Chunk, text: str) -> list[TimedText]:
        """Return the words that became known with this chunk of the speech of ``text``."""
        for mark in chunk.marks:
            self._open = [other for other in self._open if other.index < mark.index]
            self._open.append(mark)
        found: list[TimedText] = []
        while self._open and (end := self._end_of_first(chunk)) is not None:
            mark = self._open.pop(0)
            if mark.text_end > self._text_end:
                found += self._words(mark, end, chunk, text)
        return found

    def _end_of_first(self, chunk: Chunk) -> int | None:
        """Return the offset at which the earliest open segment ends; None while it goes on."""
        if len(self._open) > 1:
            return self._open[1].offset
        ended = chunk.is_last or chunk.text_end >= self._open[0].text_end
        return chunk.total if ended else None

    def _words(self, mark: Mark, end: int, chunk: Chunk, text: str) -> Iterator[TimedText]:
        places = [
            (word.text_start, word.start, word.end)
            for word in chunk.words
            if mark.text_start <= word.text_start < mark.text_end
        ] or list(_shared_out(mark, max(end, mark.offset), text))
        rate = BYTES_PER_SAMPLE * chunk.sample_rate
        starts = [self._text_end, *(start for start, _, _ in places[1:]), mark.text_end]
        self._text_end = mark.text_end
        for (first, last), (_, start, stop) in zip(pairwise(starts), places, strict=False):
            yield TimedText(text[first:last], start / rate, stop / rate)


def _shared_out(mark: Mark, end: int, text: str) -> Iterator[tuple[int, int, int]]:
    """Yield (start in the text, first byte, byte behind the last) of each word of a segment."""
    spans = [match.span() for match in _WORD.finditer(text, mark.text_start, mark.text_end)]
    spans = spans or [(mark.text_start, mark.text_end)]
    whole = sum(stop - start for start, stop in spans)
    before = 0
    for start, stop in spans:
        after = before + stop - start
        length = end - mark.offset
        yield start, mark.offset + length * before // whole, mark.offset + length * after // whole
        before = after
