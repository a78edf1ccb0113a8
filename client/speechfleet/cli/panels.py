"""Panels of a help text, in typer's look: rich alone would take longer than all the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TextIO

DEFAULT_WIDTH = 80
BOLD, DIM, NAME, SHORT, TYPE = "1", "2", "1;36", "1;32", "1;33"
"""Codes of ANSI escape sequences."""
CODE = NAME


class Screen(NamedTuple):
    """Knows what a stream can show."""

    width: int
    coloured: bool
    has_boxes: bool

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """Ask a stream and the environment, as rich does."""
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        wished = bool(os.environ.get("FORCE_COLOR")) or is_terminal
        encoding = (stream.encoding or "").lower()
        return cls(_width(), wished and not os.environ.get("NO_COLOR"), encoding.startswith("utf"))

    def styled(self, text: str, style: str) -> str:
        """Return a text in a style, where the stream shows styles."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.coloured and style and text else text


def panel(
    screen: Screen, title: str, rows: Sequence[Sequence[str]], styles: Sequence[str], pad: int = 0
) -> Iterator[str]:
    """Yield the lines of a panel: columns in their styles, and the last one wrapped.

    ``pad``: the least width of the first column.
    """
    left_top, right_top, left_end, right_end, line, side = (
        "╭╮╰╯─│" if screen.has_boxes else "++++-|"
    )
    inner = screen.width - 4
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    widths[0] = max(widths[0], pad)
    room = inner - sum(widths) - 2 * len(widths)
    border = screen.styled(side, DIM)
    top = f"{left_top}{line} {title} "
    yield screen.styled(top + line * (screen.width - len(top) - 1) + right_top, DIM)
    for *names, explanation in rows:
        for number, words in enumerate(_wrapped(explanation, room)):
            cells = [""] * len(names) if number else names
            shown = [
                screen.styled(cell, style) + " " * (width - len(cell) + 2)
                for cell, style, width in zip(cells, styles, widths, strict=True)
            ]
            text = " ".join(screen.styled(word, style) for word, style in words)
            rest = room - sum(len(word) + 1 for word, _ in words) + 1
            yield f"{border} {''.join(shown)}{text}{' ' * rest} {border}"
    yield screen.styled(left_end + line * (screen.width - 2) + right_end, DIM)


def _wrapped(explanation: str, width: int) -> Iterator[list[tuple[str, str]]]:
    """Yield the words of each line with their styles: what stands in backticks is code."""
    words: list[tuple[str, str]] = []
    used, is_code = 0, False
    for raw in explanation.split():
        word, style = raw.replace("`", ""), CODE if is_code or raw.startswith("`") else ""
        is_code ^= raw.count("`") % 2 == 1
        if words and used + len(word) > width:
            yield words
            words, used = [], 0
        words.append((word, style))
        used += len(word) + 1
    yield words


def _width() -> int:
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or DEFAULT_WIDTH  # type: ignore[union-attr]  # it is a file
    except (OSError, ValueError, AttributeError):
        return DEFAULT_WIDTH
