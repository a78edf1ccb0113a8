"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 10_000
"""Columns: whoever reads a pipe wants whole lines, ids above all."""


def console() -> Console:
    """Stdout, made anew so that it is whatever stdout is now."""
    return Console(
        markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH
    )


def say(line: str) -> None:
    """One line of the result."""
    print(_visible(line), flush=True)


def tell(line: str) -> None:
    """One line beside the result."""
    print(_visible(line), file=sys.stderr, flush=True)


def error(message: str) -> None:
    """An error is one line, whatever the message holds."""
    tell(f"speechfleet: {' '.join(message.split())}")


def emit(value: Any) -> None:
    """The one JSON object of ``--json``."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The first column is an id or a name: it is never cut short."""
    grid = Table(box=None, header_style="bold", pad_edge=False, show_header=any(columns))
    for number, column in enumerate(columns):
        overflow = "ellipsis" if number else "fold"
        grid.add_column(column, overflow=overflow, no_wrap=number > 0)  # type: ignore[arg-type]  # one of its literals
    for row in rows:
        grid.add_row(*(Text(_visible(str(cell))) for cell in row))
    console().print(grid)


class Progress:
    """One changing line on stderr; nothing where that is no terminal, or ``quiet``."""

    def __init__(self, status: Status | None) -> None:
        self._status = status

    @property
    def seen(self) -> bool:
        return self._status is not None

    def update(self, line: str) -> None:
        if self._status is not None:
            self._status.update(Text(_visible(line)))


@contextmanager
def progress(*, quiet: bool = False) -> Any:
    if quiet or not sys.stderr.isatty():
        yield Progress(None)
        return
    with Console(stderr=True).status("") as status:
        yield Progress(status)


def moment(seconds: float) -> str:
    """A time of the server, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _visible(text: str) -> str:
    """Without what would steer a terminal; a provider's message may hold anything."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
