"""The listeners of each job at this gateway, and the end of jobs that lost their only one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.job import AsyncJob

log = logging.getLogger(__name__)

REASON = "its listener left"


class Listeners:
    """Count the listeners of each job at this gateway."""

    def __init__(self) -> None:
        self._count: Counter[tuple[str, str]] = Counter()

    @asynccontextmanager
    async def listening(
        self, client: AsyncClient, job: AsyncJob, *, cancel: bool
    ) -> AsyncGenerator[None, None]:
        """Count one listener while the context lasts.

        ``cancel``: the job was made for this listener. It is cancelled at the end, unless it has
        ended by then or somebody else listens here.
        """
        key = (client.namespace, job.id)
        self._count[key] += 1
        try:
            yield
        finally:
            self._count[key] -= 1
            is_last = not self._count[key]
            if is_last:
                del self._count[key]
            if cancel and is_last:
                await _cancel(job)


async def _cancel(job: AsyncJob) -> None:
    try:
        # Shielded: this task may be cancelled itself, and the job must be all the same.
        await asyncio.shield(asyncio.ensure_future(job.cancel(REASON)))
    except SpeechFleetError as error:
        log.warning("not cancelled: %s", error, extra={"job": job.id})
