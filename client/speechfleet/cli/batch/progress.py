"""The progress of a batch: a bar and a line that change, or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import accumulate
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from speechfleet.batch.batch import AsyncBatch
from speechfleet.cli import output
from speechfleet.corpus.corpus import Examined

REFRESHES_PER_S = 4

SECONDS_OF_A_MINUTE = 60.0
GAP = "  "
"""Between two counts of a line."""


class BatchProgress:
    """Show the progress of a batch on stderr while its context is open; not where ``quiet``."""

    def __init__(self, batch: AsyncBatch, examined: Examined, *, quiet: bool) -> None:
        self._batch = batch
        self._total = examined.items
        self._quiet = quiet
        self._stack = ExitStack()
        self._began = time.monotonic()
        self._line_at = self._began
        self._live = False

    def __enter__(self) -> BatchProgress:
        if not self._quiet and sys.stderr.isatty():
            console = Console(stderr=True)
            live = Live(self, console=console, refresh_per_second=REFRESHES_PER_S, transient=True)
            self._stack.enter_context(live)
            self._live = True
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def advance(self, entry: Mapping[str, Any]) -> None:
        """Take note that an item ended."""
        now = time.monotonic()
        due = now - self._line_at >= output.PIPED_INTERVAL_S
        if due and not self._quiet and not self._live:
            self._line_at = now
            output.tell(self.line)

    def __rich_console__(self, console: Console, _: ConsoleOptions) -> RenderResult:
        """Draw the bar and the line for the width that the terminal has now."""
        yield ProgressBar(total=max(1, self._total), completed=self._done)
        yield Segment.line()  # the bar fills its line and does not end it
        yield Text(self.line_within(console.width), overflow="ellipsis", no_wrap=True)

    @property
    def _done(self) -> int:
        sums = self._batch.summary
        return sums.succeeded + sums.failed + sums.skipped

    @property
    def line(self) -> str:
        """All counts, the most important ones first."""
        return GAP.join(self._parts)

    def line_within(self, width: int) -> str:
        """Return the first counts that a terminal of this width has room for, whole ones only."""
        ends = accumulate(len(part) + len(GAP) for part in self._parts)
        fitting = sum(end - len(GAP) <= width for end in ends)
        return GAP.join(self._parts[: max(1, fitting)])

    @property
    def _parts(self) -> list[str]:
        sums = self._batch.summary
        took = max(1e-3, time.monotonic() - self._began)
        ended = sums.succeeded + sums.failed
        left = (self._total - self._done) * took / ended if ended else 0.0
        parts = [
            f"{self._done:,}/{self._total:,}",
            f"ETA {duration(left)}" if ended else "",
            f"{sums.failed:,} failed" if sums.failed else "",
            f"{sums.cached:,} cached" if sums.cached else "",
            f"{sums.spent.money:,.2f} spent" if sums.spent.money else "",
            f"{ended / took:,.1f}/s",
            f"{speech_time(sums.seconds)} of speech",
            f"{sums.spent.characters:,.0f} characters",
            f"{sums.seconds / took:,.0f} x real time",
        ]
        return [part for part in parts if part]


def speech_time(seconds: float) -> str:
    """Return a length of audio: in seconds below a minute, else as ``1:02:03``."""
    return f"{seconds:.1f} s" if seconds < SECONDS_OF_A_MINUTE else duration(seconds)


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds as ``1:02:03``."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}"
