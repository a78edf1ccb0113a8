"""Sentences as hibari pronounces them, and the word of the text that each phoneme belongs to.

hibari rewrites a sentence before it looks its words up ("$5" -> "5 dollars", "3 km" ->
"3 kilometers"); a word of the text is found again by comparing both, word by word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple, Protocol

LONGEST = 400
"""Phonemes that the model is given at once, half a minute: they decide what memory it takes."""
_CLAUSE = re.compile(r"(?<=[,;:—])\s+")
_PAUSES = frozenset(' ;:,.!?—…"“”()')
"""Phonemes that are no sound of a word."""
_WORD = re.compile(r"\S+")


class Token(Protocol):
    """A word, or a part of one, as hibari's dictionary returns it."""

    text: str
    whitespace: str
    phonemes: str | None


class Span(NamedTuple):
    """A range [start, end)."""

    start: int
    end: int


@dataclass(frozen=True)
class Clause:
    """Phonemes that are spoken at once; ``words``: their ranges within them, by word.

    The text ranges of ``words`` count from the beginning of the sentence.
    """

    phonemes: str
    words: tuple[tuple[Span, Span], ...]
    """(text, phonemes) of each word, in order."""


def clauses(sentence: str, tokens: Sequence[Token]) -> Iterator[Clause]:
    """Yield a sentence in clauses of at most `LONGEST` phonemes."""
    phonemes, spoken = _joined(tokens)
    words = list(_matched(sentence, spoken))
    for start, end in _cuts(phonemes):
        inside = tuple(
            (text, Span(sound.start - start, sound.end - start))
            for text, sound in words
            if start <= sound.start and sound.end <= end
        )
        yield Clause(phonemes[start:end], inside)


@dataclass(frozen=True)
class _Spoken:
    """A word as it is spoken, and where its phonemes lie."""

    text: str
    phonemes: Span


def _joined(tokens: Sequence[Token]) -> tuple[str, list[_Spoken]]:
    """Join the phonemes as hibari does, and the tokens to words at white space."""
    phonemes, text, start = "", "", 0
    words: list[_Spoken] = []
    for token in tokens:
        phonemes += token.phonemes or ""
        text += token.text
        if token.whitespace:
            words.append(_Spoken(text, Span(start, len(phonemes))))
            phonemes += " "
            text, start = "", len(phonemes)
    if text:
        words.append(_Spoken(text, Span(start, len(phonemes))))
    lead = len(phonemes) - len(phonemes.lstrip())
    end = len(phonemes.rstrip())
    placed = [
        _Spoken(
            word.text,
            Span(_within(word.phonemes.start, lead, end), _within(word.phonemes.end, lead, end)),
        )
        for word in words
    ]
    return phonemes.strip(), placed


def _within(position: int, lead: int, end: int) -> int:
    return min(max(position, lead), end) - lead


def _matched(sentence: str, spoken: Sequence[_Spoken]) -> Iterator[tuple[Span, Span]]:
    """Yield (text, phonemes) of each word of the sentence; those that are rewritten share."""
    written = [Span(*match.span()) for match in _WORD.finditer(sentence)]
    names = [sentence[span.start : span.end].replace("’", "'") for span in written]
    matcher = SequenceMatcher(None, names, [word.text for word in spoken], autojunk=False)
    for kind, a, a_end, b, b_end in matcher.get_opcodes():
        if kind == "equal":
            shares = [word.phonemes for word in spoken[b:b_end]]
        elif b < b_end:
            whole = Span(spoken[b].phonemes.start, spoken[b_end - 1].phonemes.end)
            shares = list(_shared(whole, [span.end - span.start for span in written[a:a_end]]))
        else:
            shares = []
        yield from zip(written[a:a_end], shares, strict=False)


def _shared(whole: Span, weights: Sequence[int]) -> Iterator[Span]:
    total, heard = sum(weights), 0
    bounds = [whole.start]
    for weight in weights:
        heard += weight
        bounds.append(whole.start + round((whole.end - whole.start) * heard / total))
    for start, end in pairwise(bounds):
        yield Span(start, end)


def _cuts(phonemes: str) -> Iterator[Span]:
    """Cut more than `LONGEST` behind a clause mark, else at a space, else anywhere."""
    start = 0
    while len(phonemes) - start > LONGEST:
        window = phonemes[start : start + LONGEST]
        marks = [mark.start() for mark in _CLAUSE.finditer(window)]
        length = (marks or [window.rfind(" ")])[-1]
        end = start + (length if length > 0 else LONGEST)
        yield Span(start, end)
        start = end + (phonemes[end] == " ")
    yield Span(start, len(phonemes))


def sound_of(phonemes: str, word: Span) -> Span | None:
    """Return the word's phonemes without the pauses around them; None where nothing is left."""
    start, end = word
    while start < end and phonemes[start] in _PAUSES:
        start += 1
    while end > start and phonemes[end - 1] in _PAUSES:
        end -= 1
    return Span(start, end) if start < end else None
