"""The entries that hold for one voice, put into a text."""

from __future__ import annotations

from collections.abc import Iterable

from speechfleet.lexicon.lexicon import LexiconEntry
from speechfleet.lexicon.words import WordIndex
from speechfleet.speakable import SourceMap


class Replacement:
    """Speaks words as a lexicon says, for a voice and a language.

    Of two entries for a word, that of the voice counts, then that of the longer language tag.
    """

    def __init__(self, entries: Iterable[LexiconEntry], *, language: str, voice: str) -> None:
        self._spoken: dict[str, str] = {}
        best: dict[str, int] = {}
        for entry in entries:
            rank = _rank(entry.scope, language, voice)
            if rank > best.get(entry.written, 0):
                best[entry.written] = rank
                self._spoken[entry.written] = entry.spoken
        self._index = WordIndex(self._spoken)
        self._resolved: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._spoken)

    def apply(self, text: str) -> tuple[str, SourceMap]:
        """Return the text as it is spoken, and the map to the text that was given."""
        map, parts, at = SourceMap(), list[str](), 0
        for start, word in self._index.find(text):
            spoken = self._resolve(word)
            map.copy(at, start)
            map.replace(len(spoken), start, start + len(word))
            parts += text[at:start], spoken
            at = start + len(word)
        map.copy(at, len(text))
        return "".join([*parts, text[at:]]), map

    def _resolve(self, word: str) -> str:
        # Circles were refused when the lexicon was read.
        if word not in self._resolved:
            spoken = self._spoken[word]
            self._resolved[word] = spoken if spoken == word else self.apply(spoken)[0]
        return self._resolved[word]


def _rank(scope: str, language: str, voice: str) -> int:
    if not scope:
        return 1
    if scope == voice:
        return 1000
    wanted, tag = scope.lower().replace("_", "-"), language.lower().replace("_", "-")
    return 1 + len(wanted) if tag == wanted or tag.startswith(f"{wanted}-") else 0
