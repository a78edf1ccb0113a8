"""The models that a fleet offers, for callers without an event loop of their own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.integrations.agentscope.speaking import log


def offered_models() -> list[str]:
    """Return the names of the models of all workers, sorted; waits for Redis.

    Empty, with a line in the log, where there is no fleet.
    """
    # In a thread: the caller may be a coroutine, whose loop cannot run another one.
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(lambda: asyncio.run(_offered())).result()
        except SpeechFleetError as error:
            log.warning("no speech models are listed: %s: %s", error.code, error)
            return []


async def _offered() -> list[str]:
    async with AsyncClient() as client:
        catalogue = await client.ledger.overview.catalogue()
        live = {name for worker in await client.workers() for name in worker.providers}
    return sorted(
        str(model["model"])
        for provider, models in catalogue.items()
        if provider in live
        for model in models
        if not model["model"].endswith("/*")
    )
