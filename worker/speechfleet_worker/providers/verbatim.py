"""Compares what a model says that it spoke with the text that it was asked to read.

A chat model that is asked to read aloud may answer, paraphrase or refuse instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

ALLOWED = 0.05
"""Share of a text's words that may differ: spellings of one word, a name."""
EARLY_TOKENS = 8
EARLY_ALLOWED = 0.5
"""A reading that has gone so far wrong after so many words is given up before its end."""

_TOKEN = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]"
    r"|[^\W_]+(?:['\u2019][^\W_]+)*"
)
"""A word; in scripts without blanks between words, a character."""


def tokens(text: str) -> list[str]:
    """Split a text into words without case and punctuation, for comparing."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return _TOKEN.findall(plain)


def deviation(text: Sequence[str], heard: Sequence[str]) -> float:
    """Return the share of the text's tokens that were not heard as they are written, or more.

    Words that hold a digit may be heard as any words: "3" is read as "three".
    """
    differing = 0
    for kind, i, j, k, m in SequenceMatcher(None, text, heard, autojunk=False).get_opcodes():
        spelt_out = i < j and all(any(c.isdigit() for c in token) for token in text[i:j])
        if kind != "equal" and not (kind == "replace" and spelt_out):
            differing += max(j - i, m - k)
    return differing / max(1, len(text))


class Transcript:
    """The transcript of one reading, as it comes."""

    def __init__(self, text: str) -> None:
        self._text = tokens(text)
        self._heard = ""
        self._next_look = EARLY_TOKENS

    def feed(self, delta: str) -> None:
        self._heard += delta

    @property
    def is_lost(self) -> bool:
        """Tell whether the reading has left the text already; looks now and then."""
        heard = tokens(self._heard)[:-1]  # the last word may be cut
        if len(heard) < self._next_look:
            return False
        self._next_look = 2 * len(heard)
        return deviation(self._text[: len(heard)], heard) > EARLY_ALLOWED

    @property
    def is_verbatim(self) -> bool:
        """Tell whether all of the text was read, and nothing else."""
        heard = tokens(self._heard)
        differing = deviation(self._text, heard) * max(1, len(self._text))
        return differing <= ALLOWED * max(len(self._text), len(heard))
