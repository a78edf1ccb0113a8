"""Find words that a provider tells of in the text that it was given."""

from __future__ import annotations


class WordPlaces:
    """Finds words in a text, in the order in which they are spoken. The text may grow."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self._position = 0

    def find(self, word: str) -> tuple[int, int] | None:
        """Return [start, end) of the next place of a word; None where it does not come."""
        at = self.text.find(word, self._position) if word else -1
        return None if at < 0 else (at, at + len(word))

    def pass_over(self, place: tuple[int, int]) -> None:
        """Look for further words behind this place."""
        self._position = place[1]
