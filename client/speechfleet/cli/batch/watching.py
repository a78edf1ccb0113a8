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


async def watch_batch(batch: AsyncBatch, *, quiet: bool) -> None:
    """Show the counts of a batch on a line of stderr until it is not open any more.

    Raises BatchNotFound.
    """
    began = time.monotonic()
    first = now = await batch.status()
    with output.progress(quiet=quiet) as progress:
        while now.state in UNDER_WAY and not _all_ended(now):
            progress.update_or_tell(line(first, now, time.monotonic() - began))
            await asyncio.sleep(POLL_INTERVAL_S)
            now = await batch.status()


def line(first: BatchStatus, now: BatchStatus, watched_s: float) -> str:
    """Return the counts of a batch, its rate since watching began, and the time that is left."""
    total = int(now.about.get("total", "0") or 0)
    done = _ended(now)
    rate = (done - _ended(first)) / watched_s if watched_s > 0 else 0.0
    parts = [
        f"{now.id}: {done:,}/{total:,}" if total else f"{now.id}: {done:,}",
        f"ETA {duration((total - done) / rate)}" if rate and total else "",
        f"{rate:,.1f}/s" if rate else "",
        f"{now.failed:,} failed" if now.failed else "",
        f"{now.outstanding:,} under way",
    ]
    return "  ".join(part for part in parts if part)


def _ended(now: BatchStatus) -> int:
    return now.succeeded + now.failed + now.cancelled


def _all_ended(now: BatchStatus) -> bool:
    total = int(now.about.get("total", "0") or 0)
    return bool(total) and _ended(now) >= total and not now.outstanding
