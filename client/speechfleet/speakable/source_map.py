"""The map between a spoken text and the written text that it was made from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field


@dataclass
class SourceMap:
    """Maps ranges of the spoken text to the written text, and positions back.

    Positions are code points. The map is monotonic: what is spoken later is not written
    earlier. It grows with the text and never changes what it said. A stretch is either copied,
    character for character, or stands as a whole for a stretch of the written text.
    """

    _spoken: list[int] = field(default_factory=list)
    _written: list[int] = field(default_factory=list)
    _written_end: list[int] = field(default_factory=list)
    _copied: list[bool] = field(default_factory=list)
    _size: int = 0

    @property
    def size(self) -> int:
        """Return the code points of the spoken text."""
        return self._size

    def copy(self, start: int, end: int) -> None:
        """Add a stretch that is spoken as it is written."""
        if end == start:
            return
        if self._copied and self._copied[-1] and self._written_end[-1] == start:
            self._written_end[-1] = end
        else:
            self._add(start, end, copied=True)
        self._size += end - start

    def replace(self, size: int, start: int, end: int) -> None:
        """Add ``size`` spoken code points that stand for the written stretch [start, end)."""
        if size:
            self._add(start, end, copied=False)
            self._size += size

    def _add(self, start: int, end: int, *, copied: bool) -> None:
        self._spoken.append(self._size)
        self._written.append(start)
        self._written_end.append(end)
        self._copied.append(copied)

    def written(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of the written text that [start, end) of the spoken text stands for.

        A range that touches a replaced stretch takes in all of what that stands for. An empty
        range is the place at which it would begin.
        """
        first = self._written_start(start)
        if end <= start:
            return first, first
        stretch = bisect_right(self._spoken, min(end, self._size) - 1) - 1
        last = self._written_end[stretch]
        if self._copied[stretch]:
            last = self._written[stretch] + min(end, self._size) - self._spoken[stretch]
        return first, max(first, last)

    def spoken(self, written: int) -> int:
        """Return the first position of the spoken text that is written at ``written`` or later."""
        stretch = bisect_left(self._written_end, written + 1)
        if stretch == len(self._spoken):
            return self._size
        inside = written - self._written[stretch]
        if inside <= 0:
            return self._spoken[stretch]
        if self._copied[stretch]:
            return self._spoken[stretch] + inside
        following = stretch + 1
        return self._spoken[following] if following < len(self._spoken) else self._size

    def _written_start(self, position: int) -> int:
        stretch = bisect_right(self._spoken, position) - 1
        if stretch < 0:
            return 0
        if position >= self._size:
            return self._written_end[-1]
        if self._copied[stretch]:
            return self._written[stretch] + position - self._spoken[stretch]
        return self._written[stretch]
