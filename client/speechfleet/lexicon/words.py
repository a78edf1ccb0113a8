"""Finds the words of a lexicon in a text, in time that does not grow with the lexicon."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

_WITHOUT_BLANKS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u0e00-\u0eff"
"""Kana, Han, Thai and Lao, which set no blanks between words; for a character class."""
_OWN_WORD = re.compile(rf"[{_WITHOUT_BLANKS}]")
_TOKEN = re.compile(
    rf"[{_WITHOUT_BLANKS}]|(?:(?![{_WITHOUT_BLANKS}])[^\W_])+|[^\w\s]|_"
)  # fmt: skip


class WordIndex:
    """Finds whole words, the longest first, case as written."""

    def __init__(self, words: Iterable[str]) -> None:
        self._by_token: defaultdict[str, list[str]] = defaultdict(list)
        for word in sorted(set(words), key=len, reverse=True):
            if first := _TOKEN.search(word):
                self._by_token[first[0]].append(word)

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the words in a text and their positions, from left to right, none in another."""
        at = 0
        while token := _TOKEN.search(text, at):
            word = self._at(text, token)
            if word:
                yield token.start(), word
            at = token.start() + len(word) if word else token.end()

    def _at(self, text: str, token: re.Match[str]) -> str:
        for word in self._by_token.get(token[0], ()):
            if text.startswith(word, token.start()) and _ends_word(text, token.start(), word):
                return word
        return ""


def _ends_word(text: str, start: int, word: str) -> bool:
    behind = text[start + len(word) : start + len(word) + 1]
    return not (word[-1].isalnum() and behind.isalnum()) or bool(_OWN_WORD.match(word[-1]))
