"""The rules for sentence ends in a text whose language shows while it is written."""

from __future__ import annotations

from speechfleet_worker.segmentation.language import guess_language
from speechfleet_worker.segmentation.sentence_ends import HOLD_BACK, SentenceRules

OPENING = 1000
"""Code points at the beginning that the language is guessed from."""


class GuessedRules:
    """Finds the rules for each place of a growing text; always the same with a ``language``."""

    def __init__(self, language: str) -> None:
        self._rules = SentenceRules(language) if language else None
        self._opening = ""

    def feed(self, delta: str) -> None:
        """Take more of the text."""
        if self._rules is None and len(self._opening) < OPENING:
            self._opening = (self._opening + delta)[:OPENING]

    def before(self, position: int) -> SentenceRules | None:
        """Return the rules of the language that the text up to here shows; None for none."""
        if self._rules is not None:
            return self._rules
        language = guess_language(self._opening[:position])
        return self._kept(SentenceRules(language), position) if language else None

    def at(self, position: int) -> SentenceRules:
        """Return these, or else what a few code points more show, or the rules of no language."""
        if rules := self.before(position):
            return rules
        known = position + HOLD_BACK
        return self._kept(SentenceRules(guess_language(self._opening[:known]) or "und"), known)

    def _kept(self, rules: SentenceRules, known: int) -> SentenceRules:
        if known >= OPENING:
            self._rules = rules
        return rules
