"""What a batch does, while it does it: a line on stderr that changes, or one now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from speechfleet.cli import output
from speechfleet.corpus.batch import AsyncBatch
from speechfleet.corpus.source import Examined

PIPED_EVERY = 10.0
"""Seconds between two lines where stderr is no terminal."""


class BatchProgress:
    """A context manager. Where ``quiet``, nothing is shown."""

    def __init__(self, batch: AsyncBatch, examined: Examined, *, quiet: bool) -> None:
        self._batch = batch
        self._total = examined.items
        self._quiet = quiet
        self._stack = ExitStack()
        self._began = time.monotonic()
        self._told = self._began
        self._live = False

    def __enter__(self) -> BatchProgress:
        if not self._quiet and sys.stderr.isatty():
            console = Console(stderr=True)
            live = Live(self, console=console, refresh_per_second=4, transient=True)
            self._stack.enter_context(live)
            self._live = True
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def advance(self, entry: Mapping[str, Any]) -> None:
        """An item ended."""
        now = time.monotonic()
        if not self._quiet and not self._live and now - self._told >= PIPED_EVERY:
            self._told = now
            output.tell(self.line)

    def __rich_console__(self, console: Console, _: ConsoleOptions) -> RenderResult:
        """Drawn anew for whatever width the terminal has now."""
        yield ProgressBar(total=max(1, self._total), completed=self._done)
        yield Text(self.line, overflow="ellipsis", no_wrap=True)

    @property
    def _done(self) -> int:
        sums = self._batch.summary
        return sums.succeeded + sums.failed + sums.skipped

    @property
    def line(self) -> str:
        sums = self._batch.summary
        took = max(1e-3, time.monotonic() - self._began)
        ended = sums.succeeded + sums.failed
        parts = [
            f"{self._done:,}/{self._total:,}",
            f"{sums.failed:,} failed" if sums.failed else "",
            f"{sums.cached:,} cached" if sums.cached else "",
            f"{sums.seconds / 3600:.2f} h of audio, {sums.seconds / took:,.0f} x real time",
            f"{sums.spent.characters:,.0f} characters",
            f"{sums.spent.money:,.2f} spent" if sums.spent.money else "",
            f"ETA {_clock((self._total - self._done) * took / ended)}" if ended else "",
        ]
        return "  ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}"
