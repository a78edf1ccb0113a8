"""Roman numerals of headings, which voices read as letters."""

from __future__ import annotations

import re
from typing import NamedTuple

_VALID = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN = re.compile(r"[IVXLCDM]{1,15}(?![^\W_])")
_WORD = re.compile(r"(?!https?://|www\.)[^\W\d_]+")
_BEHIND = ("", ".", ")", ":", "\n", "\r")
_NUMBERED = frozenset(
    "act appendix article book canto chapter episode lesson part psalm scene section volume "
    "akt anhang artikel band buch kapitel lektion szene teil "
    "acte annexe chapitre livre partie scène tome "
    "acto capítulo libro parte tomo escena sección "
    "atto capitolo parte scena sezione "
    "ato cena livro seção capítulo deel hoofdstuk kapitola díl rozdział część".split()
)
"""Words, in lower case, that a number follows in headings."""


class HeadingWord(NamedTuple):
    """A word of a heading, up to ``end``; ``digits`` where it is a number."""

    end: int
    digits: str = ""


class Heading:
    """The heading that is being read: it knows which of its words are roman numerals."""

    def __init__(self) -> None:
        self._last: str | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether a heading is being read."""
        return self._last is not None

    def begin(self) -> None:
        """Begin a heading."""
        self._last = ""

    def end(self) -> None:
        """End the heading."""
        self._last = None

    def word(self, text: str, at: int, end: int) -> HeadingWord | None:
        """Return the word at ``at``; None where there is none."""
        found = _WORD.match(text, at, end)
        if found is None:
            return None
        before = self._last or ""
        roman = _ROMAN.fullmatch(text, at, found.end())
        behind = text[found.end() : found.end() + 1]
        is_number = roman and (before in _NUMBERED or (not before and behind in _BEHIND))
        return HeadingWord(found.end(), arabic(found[0]) if is_number else "")

    def passed(self, word: str) -> None:
        """Note that a word was read: the next one may be its number."""
        self._last = word.lower()


def arabic(numeral: str) -> str:
    """Return a roman numeral in digits; "" where it is none."""
    if not numeral or not _VALID.fullmatch(numeral):
        return ""
    values = [_VALUES[letter] for letter in numeral]
    following = [*values[1:], 0]
    return str(sum(a if a >= b else -a for a, b in zip(values, following, strict=True)))
