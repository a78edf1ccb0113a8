"""Read what a test has billed, whichever day it was billed on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from speechfleet.ledger.jobs import Jobs


async def day_of_usage(jobs: Jobs, namespace: str) -> date:
    """Find the day (UTC) of a test's usage: today, or the day before if midnight has passed."""
    today = datetime.now(UTC).date()
    return today if await jobs.usage(namespace, today) else today - timedelta(days=1)


async def usage_of(jobs: Jobs, namespace: str) -> dict[str, dict[str, float]]:
    """Read the usage that a test has just left, by model."""
    return await jobs.usage(namespace, await day_of_usage(jobs, namespace))
