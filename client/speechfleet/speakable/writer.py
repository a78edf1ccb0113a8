"""The spoken text while it is made: its parts, its map, and its pauses."""

from __future__ import annotations

from speechfleet.speakable.pauses import Pause
from speechfleet.speakable.source_map import SourceMap

PARAGRAPH = "\n\n"


class Writer:
    """Collects the spoken text. Positions of the written text count from its beginning."""

    def __init__(self) -> None:
        self.map = SourceMap()
        self.pauses: list[Pause] = []
        self._parts: list[str] = []
        self._ending = PARAGRAPH  # the last two characters; nothing has to be separated at first

    def take(self) -> str:
        """Return what was written since the last call."""
        new, self._parts = "".join(self._parts), []
        return new

    def copy(self, text: str, at: int) -> None:
        """Add text that stands so at ``at`` in the written text."""
        self.map.copy(at, at + len(text))
        self._append(text)

    def replace(self, text: str, start: int, end: int) -> None:
        """Add text that is spoken for the written stretch [start, end)."""
        self.map.replace(len(text), start, end)
        if text:
            self._append(text)

    def insert(self, text: str, at: int) -> None:
        """Add text that is written nowhere."""
        self.replace(text, at, at)

    def end_paragraph(self, at: int) -> None:
        """Set what follows apart from what was said; idempotent."""
        if self._ending == PARAGRAPH:
            return
        missing = "\n" if self._ending.endswith("\n") else PARAGRAPH
        self.insert(missing, at)

    def end_sentence(self, mark: str, at: int) -> None:
        """Add a mark, unless a sentence or paragraph has ended here."""
        if self._ending[-1] not in ".!?:;。！？：；…\n":
            self.insert(mark, at)

    def pause(self, seconds: float, start: int, end: int) -> None:
        """Add silence; what follows begins a paragraph."""
        self.end_paragraph(start)
        self.pauses.append(Pause(self.map.size, seconds, start, end))

    @property
    def last(self) -> str:
        """Return the last character."""
        return self._ending[-1:]

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._ending = (self._ending + text)[-2:]
