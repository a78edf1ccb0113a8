"""Lay out tables for the width of a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns."""
MIN_FOLDED_WIDTH = 20
"""Characters that the last column keeps; below this, rows are stacked."""
MAX_WHOLE_WORD = 32
"""Characters of the longest word that is never cut; paths and addresses may be longer."""
NUMBER = re.compile(r"-?[\d,]+(\.\d+)?( (s|ms|Hz|%))?").fullmatch
"""A number as tables show it; columns of them are set right, digit below digit."""


@dataclass(frozen=True)
class Column:
    """A column of cells with the width of its longest line."""

    name: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        lines = (line for cell in (self.name, *self.cells) for line in cell.split("\n"))
        return max(map(cell_len, lines), default=0)

    @property
    def least_width(self) -> int:
        """Return the width below which it does not fold: that of its longest word, paths aside."""
        words = (cell_len(word) for cell in self.cells for word in cell.split())
        whole = [length for length in words if length <= MAX_WHOLE_WORD]
        return max(MIN_FOLDED_WIDTH, *whole) if whole else MIN_FOLDED_WIDTH

    @property
    def is_numeric(self) -> bool:
        """Tell whether every cell that holds anything is a number, with or without a unit."""
        filled = [cell for cell in self.cells if cell]
        return bool(filled) and all(map(NUMBER, filled))


def lay_out(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    width: int,
    *,
    rare: Sequence[str] = (),
    keys: int = 1,
    folds: int = 1,
) -> RenderableType:
    """Return a table that fits ``width`` and never cuts its first ``keys`` columns.

    If the width does not suffice, the last ``folds`` columns fold, then columns without any
    content and the ``rare`` ones are left out, the first named one first. If not even that
    suffices, each row becomes a block: the key columns in one line, and below it each other cell
    in a line of its own.
    """
    content = [list(row) for row in rows]
    shown = [Column(name, [row[index] for row in content]) for index, name in enumerate(columns)]
    for left_out in (None, _is_empty, *(partial(_is_named, name) for name in rare)):
        shown = [column for column in shown if left_out is None or not left_out(column)]
        if (widths := _fit(shown, width, folds)) is not None:
            return _grid(shown, widths)
    everything = [Column(name, [row[i] for row in content]) for i, name in enumerate(columns)]
    return Group(*_blocks(everything, keys))


def _is_empty(column: Column) -> bool:
    return not any(column.cells)


def _is_named(name: str, column: Column) -> bool:
    return column.name == name


def _fit(columns: Sequence[Column], width: int, folds: int) -> list[int] | None:
    """Return the width of each column; None where they do not fit."""
    widths = [column.width for column in columns]
    folding = range(max(0, len(widths) - folds), len(widths))
    for _ in range(sum(widths) + GAP * (len(widths) - 1) - width):
        wide = [index for index in folding if widths[index] > columns[index].least_width]
        if not wide:
            return None
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _grid(columns: Sequence[Column], widths: Sequence[int]) -> Table:
    headed = any(column.name for column in columns)
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=0, show_header=headed)
    # The gap belongs to the cell: rich before 15 counts one behind the last column, too.
    gaps = [GAP] * (len(columns) - 1) + [0]
    for column, width, gap in zip(columns, widths, gaps, strict=True):
        justify: JustifyMethod = "right" if column.is_numeric else "left"
        heading = _before_gap(column.name, gap)
        grid.add_column(heading, width=width + gap, overflow="fold", justify=justify)
    for cells in zip(*(column.cells for column in columns), strict=True):
        grid.add_row(*map(_before_gap, cells, gaps))
    return grid


def _before_gap(text: str, gap: int) -> RenderableType:
    return Padding(Text(text), (0, gap, 0, 0)) if gap else Text(text)


def _blocks(columns: Sequence[Column], keys: int) -> Iterator[RenderableType]:
    for cells in zip(*(column.cells for column in columns), strict=True):
        yield Text("  ".join(cell for cell in cells[:keys] if cell), style="bold", overflow="fold")
        for column, cell in zip(columns[keys:], cells[keys:], strict=True):
            if cell:
                line = f"{column.name}: {cell}" if column.name else cell
                yield Padding(Text(line, overflow="fold"), (0, 0, 0, GAP), expand=False)


def print_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    rare: Sequence[str] = (),
    keys: int = 1,
    folds: int = 1,
) -> None:
    """Print a table as wide as the console, see `lay_out`.

    Where that is no terminal, lines have no blanks at their ends.
    """
    table = lay_out(columns, rows, console.width, rare=rare, keys=keys, folds=folds)
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as printed:
        console.print(table)
    console.file.write("\n".join(line.rstrip() for line in printed.get().split("\n")))
