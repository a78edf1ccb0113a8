"""Completions that a shell is offered: models, and ids of jobs and batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from speechfleet.batch.pricing import LISTED
from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.settings import DEFAULT_MODEL

KEYLESS = (DEFAULT_MODEL, "hibari/heart", "espeak/espeak-ng")
"""Models that need no key."""
MAX_JOBS = 50
"""Jobs of each state whose ids a shell is offered."""


def known_models() -> list[str]:
    """List the models that need no key, and those that have a price."""
    return [*KEYLESS, *(name for name in LISTED if "/" in name)]


def complete_model(incomplete: str) -> list[str]:
    """Complete the name of a model."""
    return [name for name in known_models() if name.startswith(incomplete)]


def complete_job_id(incomplete: str) -> list[str]:
    """Complete the id of a job, from the newest ones."""
    return _completions(_job_ids, incomplete)


def complete_batch_id(incomplete: str) -> list[str]:
    """Complete the id of a batch."""
    return _completions(_batch_ids, incomplete)


async def _job_ids(client: AsyncClient) -> list[str]:
    return [job.id for job in await client.jobs(count=MAX_JOBS)]


async def _batch_ids(client: AsyncClient) -> list[str]:
    return [batch.id for batch in await client.ledger.batches.list(client.namespace)]


def _completions(
    names: Callable[[AsyncClient], Awaitable[list[str]]], incomplete: str
) -> list[str]:
    """Ask a fleet that is set or runs; a shell must not see errors, nor wait for a start."""

    async def ask() -> list[str]:
        async with AsyncClient() as client:
            return await names(client)

    with suppress(SpeechFleetError):
        return [name for name in asyncio.run(ask()) if name.startswith(incomplete)]
    return []
