"""Text made speakable while it is still being written."""

from __future__ import annotations

from typing import Literal

from speechfleet.speakable.line_reader import LINE_BREAK, LineReader
from speechfleet.speakable.lines import Beginning, LineKind, beginning
from speechfleet.speakable.pauses import Pause
from speechfleet.speakable.source_map import SourceMap
from speechfleet.speakable.tables import LONGEST_ROW, Table, cells, is_delimiter


class SpeakableStream(LineReader):
    """Makes a growing text speakable; what was handed out never changes.

    `feed` takes what was added and returns what is certain by now; `flush` returns the rest as
    it is. However the text is divided among calls of `feed`, the spoken text is the same.
    ``language`` is a tag such as "de", or "". The mode "off" leaves the text as it is.
    """

    def __init__(self, mode: Literal["markdown", "plain", "off"], language: str = "") -> None:
        super().__init__(markdown=mode == "markdown")
        self._read = 0  # code points of the held text that were read
        self._language = language
        self._table = Table(language)
        self._fence = ""
        if mode == "markdown":
            self._step = self._next_line = self._line
        elif mode == "off":
            self._step = self._unchanged

    @property
    def map(self) -> SourceMap:
        """Return the map of what was handed out so far."""
        return self._writer.map

    @property
    def pauses(self) -> list[Pause]:
        """List the pauses so far, in order."""
        return self._writer.pauses

    def feed(self, delta: str) -> str:
        """Take more text; return the spoken text that is certain now."""
        self._text += delta
        return self._advance(final=False)

    def flush(self) -> str:
        """Return all that is left. The text may go on afterwards."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        at, end = self._read, len(self._text)
        while at < end and (following := self._step(at, end, final)) is not None:
            at = following
        read = max(0, at - 1)
        self._text, self._read = self._text[read:], at - read
        self._before += read
        return self._writer.take()

    def _unchanged(self, at: int, end: int, final: bool) -> int | None:
        self._writer.copy(self._text[at:end], self._before + at)
        return end

    # --- the lines of markdown --------------------------------------------------------------

    def _line(self, at: int, end: int, final: bool) -> int | None:
        """Read the beginning of a line."""
        begun = beginning(self._text, at, final=final)
        if begun is None:
            return None
        if begun.kind is LineKind.ROW:
            return self._row(begun.end, end, final)
        self._table.end()
        self._step = self._within
        return self._begin(begun, self._before + at)

    def _begin(self, begun: Beginning, place: int) -> int:
        match begun.kind:
            case LineKind.FENCE:
                self._writer.end_paragraph(place)
                self._fence, self._step = begun.mark, self._fenced
            case LineKind.HEADING:
                self._writer.end_paragraph(place)
                self._heading.begin()
            case LineKind.ITEM | LineKind.NOTE:
                self._writer.end_paragraph(place)
            case LineKind.DEFINITION:
                self._step = self._unread_line
        return begun.end

    def _unread_line(self, at: int, end: int, final: bool) -> int | None:
        """Pass over what is left of a line."""
        found = LINE_BREAK.search(self._text, at, end)
        if found is None:
            return end
        self._step = self._within
        return found.start()

    def _fenced(self, at: int, end: int, final: bool) -> int | None:
        """Pass over a line of a code block, up to the line that closes it."""
        found = LINE_BREAK.search(self._text, at, end)
        if found is None and not final and end - at < LONGEST_ROW:
            return None
        line_end = end if found is None else found.start()
        line = self._text[at:line_end].strip()
        if line.startswith(self._fence) and not line.strip(self._fence[0]):
            self._fence, self._step = "", self._within
            return line_end
        return line_end if found is None else found.end()

    def _row(self, at: int, end: int, final: bool) -> int | None:
        """Read a row of a table, once its line is complete; the first with the line below it."""
        row_end = self._end_of_row(at, end, final)
        if row_end is None:
            return None
        self._step = self._within
        if row_end - at >= LONGEST_ROW:
            return at
        if not self._table.is_open:
            below = min(row_end + 1, end)
            below_end = self._end_of_row(below, end, final)
            if below_end is None:
                self._step = self._line
                return None
            if is_delimiter(self._text, below, below_end):
                self._table.begin(self._titles(at, row_end))
                return below_end
            self._table.begin([])
        self._speak_row(at, row_end)
        return row_end

    def _end_of_row(self, at: int, end: int, final: bool) -> int | None:
        found = LINE_BREAK.search(self._text, at, min(end, at + LONGEST_ROW))
        if found is not None:
            return found.start()
        return min(end, at + LONGEST_ROW) if final or end - at >= LONGEST_ROW else None

    def _titles(self, at: int, end: int) -> list[str]:
        titles: dict[int, str] = {}
        for cell in cells(self._text, at, end):
            stream = SpeakableStream("markdown", self._language)
            title = stream.feed(self._text[cell.start : cell.end]) + stream.flush()
            titles[cell.column] = " ".join(title.split())
        return [titles.get(column, "") for column in range(max(titles, default=-1) + 1)]

    def _speak_row(self, at: int, end: int) -> None:
        self._writer.end_paragraph(self._before + at)
        row = cells(self._text, at, end)
        for cell in row:
            self._writer.insert(self._table.title(cell.column), self._before + cell.start)
            self._read_range(cell.start, cell.end)
            mark = self._table.stop if cell is row[-1] else self._table.comma
            self._writer.end_sentence(mark, self._before + cell.end)

    def _read_range(self, at: int, end: int) -> None:
        while at < end:
            following = self._step(at, end, True)
            assert following is not None
            at = following
        self._code, self._hidden_until, self._step = "", None, self._within
