"""A lexicon: how words are to be spoken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from speechfleet.errors import InvalidRequest
from speechfleet.lexicon.words import WordIndex

LONGEST_WORD = 200
LONGEST_SPOKEN = 1000


class LexiconEntry(NamedTuple):
    """A word, and what is spoken for it. ``scope``: a language tag or a voice; "" for all."""

    written: str
    spoken: str
    scope: str = ""


LexiconSource = Path | str | Mapping[str, str]
"""A file of a lexicon, or the words and what is spoken for them."""


class Lexicon:
    """Entries that name each word once for each scope, and lead to no circle.

    What is spoken for a word may hold other words of the lexicon, which are spoken as their own
    entries say. An entry whose two sides are equal keeps its word from all shorter ones.
    """

    def __init__(self, entries: Iterable[LexiconEntry], places: Sequence[str] = ()) -> None:
        """``places``: where the entries stand, for messages. Raises InvalidRequest."""
        self.entries = tuple(entries)
        self._index = WordIndex(entry.written for entry in self.entries)
        self._by_word: dict[str, list[int]] = {}
        for number, entry in enumerate(self.entries):
            self._by_word.setdefault(entry.written, []).append(number)
        self._places = places or [f"entry {n}" for n in range(1, len(self.entries) + 1)]
        self._check()

    @classmethod
    def of(cls, value: object) -> Lexicon:
        """Make a lexicon of a mapping of words, or of lists [written, spoken, scope].

        Raises InvalidRequest.
        """
        if isinstance(value, Lexicon):
            return value
        pairs: Iterable[Any] = value.items() if isinstance(value, Mapping) else ()
        if isinstance(value, list | tuple):
            pairs = value
        elif not isinstance(value, Mapping):
            raise InvalidRequest(
                f"lexicon={str(value)[:60]!r}: it must map words to what is spoken for them"
            )
        entries: list[LexiconEntry] = []
        for pair in pairs:
            fields = list(pair) if isinstance(pair, list | tuple) else []
            if not 2 <= len(fields) <= 3 or not all(isinstance(field, str) for field in fields):
                raise InvalidRequest(f"lexicon: {str(pair)[:60]!r} is no word and its spoken form")
            entries.append(LexiconEntry(*fields))
        return cls(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Lexicon({len(self.entries)} entries)"

    def used_in(self, text: str) -> tuple[LexiconEntry, ...]:
        """Return the entries that the text holds, and those that these lead to, in order."""
        used: set[int] = set()
        texts = [text]
        while texts:
            for _, word in self._index.find(texts.pop()):
                new = set(self._by_word[word]) - used
                used |= new
                texts += (self.entries[number].spoken for number in new)
        return tuple(self.entries[number] for number in sorted(used))

    def _check(self) -> None:
        seen: dict[tuple[str, str], int] = {}
        for number, entry in enumerate(self.entries):
            place = self._places[number]
            if not entry.written.strip() or not any(c.isalnum() for c in entry.written):
                raise InvalidRequest(f"{place}: {entry.written!r} is no word to look for")
            if len(entry.written) > LONGEST_WORD or len(entry.spoken) > LONGEST_SPOKEN:
                raise InvalidRequest(f"{place}: {entry.written[:40]!r}: the entry is too long")
            if not any(c.isalnum() for c in entry.spoken):
                raise InvalidRequest(f"{place}: nothing is spoken for {entry.written!r}")
            before = seen.setdefault((entry.written, entry.scope), number)
            if before != number:
                raise InvalidRequest(
                    f"{place}: {entry.written!r} stands at {self._places[before]} already"
                )
        self._check_circles()

    def _check_circles(self) -> None:
        finished: dict[int, int] = {}  # with the length of all that is spoken
        for first in range(len(self.entries)):
            path: list[int] = []
            waiting = [(first, iter(self._leads_to(first)))]
            while waiting:
                number, following = waiting[-1]
                if number not in path:
                    path.append(number)
                leads_to = next((n for n in following if n not in finished), None)
                if leads_to is None:
                    finished[number] = self._spoken_length(number, finished)
                    path.pop()
                    waiting.pop()
                elif leads_to in path:
                    self._refuse_circle(path[path.index(leads_to) :])
                else:
                    waiting.append((leads_to, iter(self._leads_to(leads_to))))

    def _spoken_length(self, number: int, lengths: Mapping[int, int]) -> int:
        entry = self.entries[number]
        length = len(entry.spoken) + sum(lengths[other] for other in self._leads_to(number))
        if length > LONGEST_SPOKEN:
            raise InvalidRequest(
                f"{self._places[number]}: {entry.written[:40]!r}, with the entries that it leads "
                f"to, is spoken with more than {LONGEST_SPOKEN:,} characters"
            )
        return length

    def _leads_to(self, number: int) -> list[int]:
        entry = self.entries[number]
        if entry.written == entry.spoken:
            return []
        return [
            other
            for _, word in self._index.find(entry.spoken)
            for other in self._by_word[word]
            if not (entry.scope and self.entries[other].scope)
            or entry.scope == self.entries[other].scope
        ]

    def _refuse_circle(self, numbers: list[int]) -> None:
        words = " -> ".join(
            f"{self.entries[number].written!r} ({self._places[number]})"
            for number in [*numbers, numbers[0]]
        )
        raise InvalidRequest(
            f"the lexicon leads in a circle: {words}; an entry must not be spoken by itself"
        )
