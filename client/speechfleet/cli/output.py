"""The output of commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from speechfleet.cli.exit_status import ExitStatus
from speechfleet.cli.tables import print_table
from speechfleet.errors import InvalidRequest

PIPED_WIDTH = 10_000
"""Columns of a table that is piped: programs want whole lines, ids above all."""
PIPED_INTERVAL_S = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""


def console() -> Console:
    """Return a console on whatever stdout is now."""
    return Console(
        markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH
    )


def say(line: str) -> None:
    """Print a line of the result."""
    print(_visible(line), flush=True)


def tell(line: str) -> None:
    """Print a line beside the result."""
    print(_visible(line), file=sys.stderr, flush=True)


def error(message: str) -> None:
    """Print an error in one line."""
    tell(f"speechfleet: {' '.join(message.split())}")


def emit(value: Any) -> None:
    """Print the one JSON object of ``--json``; escaped where stdout is not UTF-8."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(value, ensure_ascii=plain, indent=2, default=str), flush=True)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    rare: Sequence[str] = (),
    keys: int = 1,
    folds: int = 1,
    nothing: str = "",
) -> None:
    """Print rows under headings; the first ``keys`` columns are never cut. See `lay_out`.

    ``nothing``: what is told on stderr where there is no row.
    """
    content = [[_visible(str(cell)) for cell in row] for row in rows]
    if not content and nothing:
        tell(nothing)
        return
    print_table(console(), columns, content, rare=rare, keys=keys, folds=folds)


def confirm(question: str, *, yes: bool) -> None:
    """Ask at a terminal before something is erased; end the command where the answer is no.

    A script, without a terminal, is not asked. Raises InvalidRequest where the question could not
    be seen.
    """
    if yes or not sys.stdin.isatty():
        return
    if not sys.stderr.isatty():
        raise InvalidRequest("the question would not be seen where stderr goes: agree by --yes")
    if not typer.confirm(question, err=True):
        tell("nothing was erased")
        raise typer.Exit(ExitStatus.WRONG_USE)


def count(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where it is not one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Progress:
    """Show one changing line on stderr; where that is no terminal, a line now and then."""

    def __init__(self, status: Status | None, *, quiet: bool) -> None:
        self._status = status
        self._quiet = quiet
        self._line_at = time.monotonic()

    @property
    def seen(self) -> bool:
        """True where stderr is a terminal that shows the line."""
        return self._status is not None

    def update(self, line: str) -> None:
        """Show another line."""
        if self._status is not None:
            self._status.update(Text(_visible(line)))

    def update_or_tell(self, line: str) -> None:
        """Show another line; where that is no terminal, print it every few seconds."""
        self.update(line)
        now = time.monotonic()
        if not self.seen and not self._quiet and now - self._line_at >= PIPED_INTERVAL_S:
            self._line_at = now
            tell(line)


@contextmanager
def progress(*, quiet: bool = False) -> Generator[Progress, None, None]:
    """Yield the progress of a command; nothing is shown where ``quiet``."""
    if quiet or not sys.stderr.isatty():
        yield Progress(None, quiet=quiet)
        return
    with Console(stderr=True).status("") as status:
        yield Progress(status, quiet=quiet)


def moment(seconds: float) -> str:
    """Return a time of the server, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _visible(text: str) -> str:
    """Escape what would steer a terminal; a provider's message may hold anything."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
