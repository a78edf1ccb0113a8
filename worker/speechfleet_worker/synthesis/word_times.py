"""Read the times of words as a model gives them, and bring them into the stored form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from speechfleet.words import MAX_WORDS, SegmentWords, WordSource
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.segmentation.cut import language_of_text


def read_words(value: object) -> tuple[SpokenWord, ...]:
    """Read ``metadata["words"]``; nothing where a word of it cannot be read.

    A list of [text_start, text_end, start, end], or of `SpokenWord`, in the order of the text.
    Words that lie before an earlier one, in text or in time, are left out.
    """
    if not isinstance(value, Iterable):
        return ()
    try:
        return tuple(_in_order(map(_read_word, value)))[:MAX_WORDS]
    except (TypeError, ValueError, OverflowError):
        return ()


def faster(words: tuple[SpokenWord, ...], factor: float) -> tuple[SpokenWord, ...]:
    """Return the words of audio that was made faster by a factor."""
    if factor == 1.0:
        return words
    return tuple(replace(word, start=word.start / factor, end=word.end / factor) for word in words)


def stored_words(
    words: Iterable[SpokenWord],
    *,
    source: WordSource,
    text: str,
    language: str,
    rate: int,
    frames: int,
) -> SegmentWords:
    """Return the words in frames of a segment of ``frames`` frames at ``rate``.

    ``text``: what was spoken. ``language``: that of the voice, "" lets the text decide.
    """
    size = len(text)
    places = (
        (
            word.text_start,
            min(word.text_end, size),
            min(round(word.start * rate), frames),
            min(round(word.end * rate), frames),
        )
        for word in words
        if word.text_start < size
    )
    return SegmentWords(source, text, tuple(places), language or language_of_text(text))


def spoken_words(stored: SegmentWords, rate: int) -> tuple[SpokenWord, ...]:
    """Return stored words in seconds: the reverse of `stored_words`."""
    return tuple(SpokenWord(a, b, s / rate, e / rate) for a, b, s, e in stored.places)


def _read_word(value: Any) -> SpokenWord:
    if isinstance(value, SpokenWord):
        return value
    text_start, text_end, start, end = value
    word = SpokenWord(int(text_start), int(text_end), float(start), float(end))
    if not (math.isfinite(word.start) and math.isfinite(word.end)):
        raise ValueError("the time of a word is no number")
    return word


def _in_order(words: Iterable[SpokenWord]) -> Iterator[SpokenWord]:
    text_end, start = 0, 0.0
    for word in words:
        is_whole = word.text_start < word.text_end and word.start <= word.end
        if is_whole and word.text_start >= text_end and word.start >= start:
            yield word
            text_end, start = word.text_end, word.start
