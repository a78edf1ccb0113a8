"""What a client sees of the fleet as a whole: its jobs, its usage, its workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from typing import Literal

from speechfleet.errors import UnknownModel
from speechfleet.job import Status
from speechfleet.jobs import Record, Request, State
from speechfleet.ledger import Fleet, Jobs
from speechfleet.ledger.fleet import Worker
from speechfleet.settings import Settings

BUILT_IN_PROVIDERS = ("dashscope", "espeak", "gemini", "openai")
KNOWN_FOR = 2.0
"""Seconds for which a look at the fleet's workers is taken as fresh."""


class Overview:
    """The half of `AsyncClient` that only looks."""

    def __init__(self, settings: Settings, namespace: str, ledger: Jobs, fleet: Fleet) -> None:
        self.settings = settings
        self.namespace = namespace
        self.ledger = ledger
        self.fleet = fleet
        self._workers: tuple[float, list[Worker]] = (0.0, [])

    async def jobs(
        self,
        state: State | str | Sequence[State] | None = None,
        *,
        offset: int = 0,
        count: int = 100,
    ) -> list[Status]:
        """Jobs of this namespace, newest first within each state."""
        if state is None:
            states: Sequence[State] = tuple(State)
        elif isinstance(state, str):
            states = (State(state.upper()),)
        else:
            states = state
        records = await self.ledger.list(self.namespace, states, offset=offset, count=count)
        return [Status.of(record, await self.waiting(record)) for record in records]

    async def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        return await self.ledger.counts(self.namespace)

    async def usage(self, day: date | None = None) -> dict[str, dict[str, float]]:
        """Usage of a day (UTC; today), by model: characters, billed, cached, calls, ..."""
        return await self.ledger.usage(self.namespace, day)

    async def workers(self) -> list[Worker]:
        """The worker processes that are alive."""
        at, workers = self._workers
        if time.monotonic() - at > KNOWN_FOR:
            workers = await self.fleet.workers()
            self._workers = (time.monotonic(), workers)
        return workers

    async def waiting(self, record: Record) -> Literal["", "in line", "back-off", "no_worker"]:
        """Why a job is QUEUED; "" where it is not."""
        if record.state is not State.QUEUED:
            return ""
        if not any(record.queue in worker.queues for worker in await self.workers()):
            return "no_worker"
        return "back-off" if record.fields.get("code") else "in line"

    async def check_provider(self, request: Request) -> None:
        """Raises UnknownModel where nobody knows the provider."""
        known = {*BUILT_IN_PROVIDERS, *self.settings.providers, *self.settings.endpoints}
        if request.provider in known:
            return
        for worker in await self.workers():
            known |= worker.providers.keys()
        if request.provider not in known:
            raise UnknownModel(
                request.model,
                (f"{provider}/..." for provider in known),
                hint="(no such provider is built in, set, or served by a live worker)",
            )
