"""Tell how much of a text was heard, by the marks and words of its audio."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from speechfleet.chunks import Chunk
from speechfleet.words import Mark, Word


def text_heard(marks: Collection[Mark], chunk: Chunk, offset: int) -> int:
    """Return the code points of the text that the audio before byte ``offset`` has spoken.

    ``chunk``: the latest one, with all words so far. A word counts once half of it was heard.
    """
    begun = sorted((mark for mark in marks if mark.offset < offset), key=lambda mark: mark.index)
    if not begun:
        return 0
    current = begun[-1]
    before = begun[-2].text_end if len(begun) > 1 else 0
    words = [
        word for word in chunk.words if current.text_start <= word.text_start < current.text_end
    ]
    if words:
        return _by_words(words, current, offset) or before
    following = (mark.offset for mark in marks if mark.index == current.index + 1)
    end = next(following, chunk.total)
    if chunk.text_end >= current.text_end and offset >= end:
        return current.text_end
    if chunk.text_end < current.text_end:  # more of its audio will come
        end = max(end, _expected_end(begun, end))
    share = (offset - current.offset) / max(1, end - current.offset)
    inside = int(min(share, 1.0) * (current.text_end - current.text_start))
    return current.text_start + inside if inside else before


def _by_words(words: Sequence[Word], segment: Mark, offset: int) -> int:
    heard = [word for word in words if word.start + word.end <= 2 * offset]
    if len(heard) == len(words) and offset >= words[-1].end:
        return segment.text_end
    return heard[-1].text_end if heard else 0


def _expected_end(begun: Sequence[Mark], published: int) -> int:
    """Guess the end of a segment that is still being spoken, by the pace of those before it."""
    current, first = begun[-1], begun[0]
    spoken = current.text_start - first.text_start
    if spoken <= 0:
        return published
    pace = (current.offset - first.offset) / spoken
    return current.offset + int(pace * (current.text_end - current.text_start))
