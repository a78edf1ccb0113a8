"""The segments of a whole text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby, islice
from typing import Literal

from speechfleet_worker.segmentation.language import guess_language
from speechfleet_worker.segmentation.sentence_stream import SentenceStream
from speechfleet_worker.segmentation.text_segment import CutReason, TextSegment

_FIRST_SLICE, _LARGEST_SLICE = 128, 1 << 12
"""Code points that `cut` reads at first, so that the first segments wait for little, and later."""
_GUESSED_FROM = 2000
"""Code points of the text that its language is guessed from."""


def cut(
    text: str,
    *,
    mode: Literal["sentence", "paragraph"],
    limit: int,
    count: Callable[[str], int] = len,
    language: str = "",
) -> Iterator[TextSegment]:
    """Cut a whole text into segments, lazily: the first costs no more in a text of 5 MB.

    ``sentence``: a segment a sentence. ``paragraph``: as many whole sentences of one paragraph
    as fit, so that a paragraph that fits is one segment; two paragraphs are never joined.

    No segment is above ``limit`` as counted by ``count`` (the provider's own unit), which must
    not shrink as text grows. A sentence above it is cut at a clause mark, else between words,
    else between graphemes. ``language`` is a tag such as "en", "de-DE" or "cmn"; without one,
    the language is guessed from the beginning of the text (`language_of_text`).

    Raises ValueError where not even one character fits into ``limit``.
    """
    language = language or language_of_text(text) or "und"
    stream = SentenceStream(limit=limit, count=count, language=language)
    sentences = _sentences(text, stream)
    if mode == "sentence":
        return sentences
    return _Packer(text, limit, count).packed(sentences)


def language_of_text(text: str) -> str:
    """Guess the language that `cut` uses if none is given; "" if nothing shows it."""
    return _language_of_beginning(text[:_GUESSED_FROM])


@lru_cache(maxsize=256)  # a job asks several times, for its cuts, its voice and its words
def _language_of_beginning(text: str) -> str:
    return guess_language(text)


def _sentences(text: str, stream: SentenceStream) -> Iterator[TextSegment]:
    start, size = 0, _FIRST_SLICE
    while start < len(text):
        yield from stream.feed(text[start : start + size])
        start, size = start + size, min(2 * size, _LARGEST_SLICE)
    yield from stream.flush()


class _Packer:
    """Joins the sentences of each paragraph into segments, as many as fit."""

    def __init__(self, text: str, limit: int, count: Callable[[str], int]) -> None:
        self._text = text
        self._limit = limit
        self._count = count
        self._index = 0

    def packed(self, sentences: Iterator[TextSegment]) -> Iterator[TextSegment]:
        for _, paragraph in groupby(sentences, key=lambda sentence: sentence.paragraph):
            yield from self._paragraph(paragraph)

    def _paragraph(self, sentences: Iterator[TextSegment]) -> Iterator[TextSegment]:
        waiting = list(islice(sentences, 1))
        while waiting:
            # Twice as many each time, so that no text is counted more than a few times.
            while self._fits(waiting) and (further := list(islice(sentences, len(waiting)))):
                waiting += further
            fitting = self._number_that_fits(waiting)
            rest = waiting[fitting:] or list(islice(sentences, 1))
            yield self._joined(waiting[:fitting], is_last=not rest)
            waiting = rest

    def _fits(self, sentences: list[TextSegment]) -> bool:
        return self._count(self._text[sentences[0].start : sentences[-1].end]) <= self._limit

    def _number_that_fits(self, sentences: list[TextSegment]) -> int:
        numbers = range(2, len(sentences) + 1)
        return 1 + bisect_right(
            numbers, False, key=lambda number: not self._fits(sentences[:number])
        )

    def _joined(self, sentences: list[TextSegment], *, is_last: bool) -> TextSegment:
        first, last = sentences[0], sentences[-1]
        segment = TextSegment(
            index=self._index,
            start=first.start,
            end=last.end,
            text=self._text[first.start : last.end],
            paragraph=first.paragraph,
            reason=_reason(last, is_last),
        )
        self._index += 1
        return segment


def _reason(sentence: TextSegment, is_last: bool) -> CutReason:
    if is_last:
        is_end = sentence.reason is CutReason.TEXT
        return CutReason.TEXT if is_end else CutReason.PARAGRAPH
    return CutReason.LIMIT if sentence.reason is CutReason.SENTENCE else sentence.reason
