"""Follows a batch until it has ended: ``batch status ID --watch``."""

from __future__ import annotations

import asyncio
import time

from speechfleet.batch.batch import AsyncBatch
from speechfleet.cli import output
from speechfleet.cli.batch.progress import duration
from speechfleet.ledger import BatchStatus
from speechfleet.ledger.batch_status import UNDER_WAY

POLL_INTERVAL_S = 1.0
LOOKS_AT_END = 5
"""Looks in a row that find all items ended, after which nothing more is waited for. One is not
enough: the items of a run that goes on with changed texts have ended once before."""


async def watch_batch(batch: AsyncBatch, *, quiet: bool) -> None:
    """Show the counts of a batch on a line of stderr until it is not open any more.

    Raises BatchNotFound.
    """
    began, looks = time.monotonic(), 0
    first = now = await batch.status()
    with output.progress(quiet=quiet) as progress:
        while now.state in UNDER_WAY and looks < LOOKS_AT_END:
            progress.update_or_tell(line(first, now, time.monotonic() - began))
            await asyncio.sleep(POLL_INTERVAL_S)
            now = await batch.status()
            looks = looks + 1 if _all_ended(now) else 0


def line(first: BatchStatus, now: BatchStatus, watched_s: float) -> str:
    """Return the counts of a batch, its rate since watching began, and the time that is left."""
    rate = (now.ended - first.ended) / watched_s if watched_s > 0 else 0.0
    parts = [
        f"{now.id}: {now.done:,}/{now.total:,}" if now.total else f"{now.id}: {now.done:,}",
        f"ETA {duration((now.total - now.done) / rate)}" if rate and now.total else "",
        f"{rate:,.1f}/s" if rate else "",
        f"{now.failed:,} failed" if now.failed else "",
        f"{now.outstanding:,} under way",
    ]
    return "  ".join(part for part in parts if part)


def _all_ended(now: BatchStatus) -> bool:
    return bool(now.total) and now.done == now.total
