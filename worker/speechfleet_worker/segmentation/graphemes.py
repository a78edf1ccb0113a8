"""Places where a text may be cut between two graphemes (UAX #29), for cuts at a limit."""

from __future__ import annotations

import unicodedata

_ZERO_WIDTH_NON_JOINER = "\u200c"
_ZERO_WIDTH_JOINER = "\u200d"
_VIRAMA = 9
"""The combining class of the sign that joins two Indic consonants into one."""
_EXTENDING_LETTERS = frozenset("\u0e33\u0eb3\uff9e\uff9f")
"""Letters that belong to the character before them: SARA AM of Thai and Lao, and the half-width
voicing marks of Japanese."""
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd"
)
"""Signs that belong to the character behind them."""


def last_break(text: str, start: int, end: int) -> int:
    """Find the last place in (start, end] between two graphemes; ``end`` if there is none."""
    position = end
    while position > start and is_inside(text, position, start):
        position -= 1
    return position if position > start else end


def is_inside(text: str, position: int, start: int = 0) -> bool:
    """Tell if one grapheme stretches across ``position``, looking back as far as ``start``."""
    if position >= len(text):
        return False
    before, after = text[position - 1], text[position]
    return (
        unicodedata.category(after) in ("Mn", "Mc", "Me")
        or after in _EXTENDING_LETTERS
        or before in _PREPENDED
        or _ZERO_WIDTH_JOINER in (before, after)
        or after == _ZERO_WIDTH_NON_JOINER
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= after <= "\U000e007f"  # tags of flags
        or "\u1160" <= after <= "\u11ff"  # vowels and finals of decomposed Hangul
        or (before == "\r" and after == "\n")
        or (unicodedata.combining(before) == _VIRAMA and after.isalpha())
        or (_is_flag_half(after) and _flag_halves_before(text, position, start) % 2 == 1)
    )


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_halves_before(text: str, position: int, start: int) -> int:
    first = position
    while first > start and _is_flag_half(text[first - 1]):
        first -= 1
    return position - first
