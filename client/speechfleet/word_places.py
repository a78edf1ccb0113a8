"""Carry the words of a segment over to the text and the audio of a job.

What was spoken may differ from what was written: a hook of the worker, a lexicon or a markup
filter changed it. The words that both texts share tell which part of the one is which part of
the other, and what lies between them corresponds in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.chunks import WordsEntry
from speechfleet.record import StoredSegment
from speechfleet.words import Place, SegmentWords, encode_places

_TOKEN = re.compile(r"\w+")


def words_entry(
    words: SegmentWords | None, segment: StoredSegment, written: str
) -> WordsEntry | None:
    """Make the entry of a segment's words; None where no time is known.

    ``written``: the segment's part of the submitted text. The words' frames are at the rate of
    the job's audio. A spoken word that stands for nothing written is left out.
    """
    if words is None or not words.places:
        return None
    places = encode_places(_places_in_job(words, segment, written))
    return WordsEntry(segment.index, segment.start, words.source, places)


def _places_in_job(words: SegmentWords, segment: StoredSegment, written: str) -> Iterator[Place]:
    for a, b, start, end in _on_written(words, written):
        first = min(segment.start + start * BYTES_PER_SAMPLE, segment.end)
        last = min(segment.start + end * BYTES_PER_SAMPLE, segment.end)
        yield segment.text_start + a, segment.text_start + b, first, max(first, last)


def _on_written(words: SegmentWords, written: str) -> Iterable[Place]:
    if words.text == written:
        return words.places
    return _merged(_mapped(words, written))


def _mapped(words: SegmentWords, written: str) -> Iterator[Place]:
    tokens = list(_aligned_tokens(words.text, written))
    at = 0
    for a, b, start, end in words.places:
        while at < len(tokens) and tokens[at].spoken[1] <= a:
            at += 1
        past = at
        while past < len(tokens) and tokens[past].spoken[0] < b:
            past += 1
        touched = [token.part(a, b) for token in tokens[at:past]]
        if touched:
            yield touched[0][0], touched[-1][1], start, end


def _merged(places: Iterator[Place]) -> Iterator[Place]:
    """Join words in a row that stand for the same written word."""
    held: Place | None = None
    for place in places:
        if held is not None and place[0] < held[1]:
            held = (held[0], max(held[1], place[1]), held[2], place[3])
            continue
        if held is not None:
            yield held
        held = place
    if held is not None:
        yield held


@dataclass(frozen=True, slots=True)
class _AlignedToken:
    """A token of the spoken text and the part of the written text that it stands for."""

    spoken: tuple[int, int]
    written: tuple[int, int]
    is_same: bool

    def part(self, start: int, end: int) -> tuple[int, int]:
        """Return what of the written text [start, end) of the spoken one stands for."""
        if not self.is_same:
            return self.written
        shift = self.written[0] - self.spoken[0]
        return max(start, self.spoken[0]) + shift, min(end, self.spoken[1]) + shift


def _aligned_tokens(spoken: str, written: str) -> Iterator[_AlignedToken]:
    ours, theirs = list(_TOKEN.finditer(spoken)), list(_TOKEN.finditer(written))
    matcher = SequenceMatcher(
        None, [token[0] for token in ours], [token[0] for token in theirs], autojunk=False
    )
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind in ("equal", "replace"):
            for i in range(i1, i2):
                j = j1 + (i - i1) * (j2 - j1) // (i2 - i1)
                last = max(j, j1 + (i + 1 - i1) * (j2 - j1) // (i2 - i1) - 1)
                written_part = theirs[j].start(), theirs[last].end()
                yield _AlignedToken(ours[i].span(), written_part, kind == "equal")
