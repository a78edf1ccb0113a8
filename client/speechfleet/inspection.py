"""A client's view of the whole fleet: its jobs, its usage, its workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Unpack

from speechfleet.context import Context
from speechfleet.errors import UnknownModel
from speechfleet.job import JobPage, Status
from speechfleet.job_filter import SearchKeywords, filter_of
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.lifecycle import State
from speechfleet.provider_options import BUILT_IN_PROVIDERS
from speechfleet.quotas import QuotaStatus
from speechfleet.request import Request
from speechfleet.settings import Settings
from speechfleet.store import Store


class FleetInspector:
    """The half of `AsyncClient` that only looks."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @property
    def settings(self) -> Settings:
        return self.context.settings

    @property
    def namespace(self) -> str:
        return self.context.namespace

    @property
    def ledger(self) -> Ledger:
        return self.context.ledger

    @property
    def store(self) -> Store:
        """The object store. Raises MisconfiguredError, MissingExtra."""
        return self.context.store

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
        records = await self.ledger.jobs.list(self.namespace, states, offset=offset, count=count)
        return [Status.of(record, await self.ledger.workers.waiting(record)) for record in records]

    async def recent_jobs(
        self, states: Sequence[State] = tuple(State), *, offset: int = 0, count: int = 100
    ) -> list[Status]:
        """Return a page of jobs of these states together, those that changed last first.

        A page costs the same however far back it is.
        """
        pages = self.ledger.job_pages
        records = await pages.page(self.namespace, states, offset=offset, count=count)
        return [Status.of(record, await self.ledger.workers.waiting(record)) for record in records]

    async def search_jobs(
        self, *, after: str = "", count: int = 100, **wanted: Unpack[SearchKeywords]
    ) -> JobPage:
        """Return a page of the jobs that match, those that changed last first.

        ``model``: a model, or its provider alone; ``since``, ``until``: of the last change, a
        datetime or Unix seconds; ``after``: `JobPage.next` of the page before. New jobs move none
        of those that follow. One page looks at 5,000 jobs at most. Raises InvalidRequest.
        """
        search, filter = self.ledger.job_search, filter_of(wanted)
        records, after = await search.page(self.namespace, filter, after=after, count=count)
        workers = self.ledger.workers
        return JobPage([Status.of(each, await workers.waiting(each)) for each in records], after)

    async def counts(self) -> dict[State, int]:
        """Count the jobs in each state."""
        return await self.ledger.jobs.counts(self.namespace)

    async def usage(self, day: date | None = None) -> dict[str, dict[str, float]]:
        """Return the usage of a day (UTC; default: today) by model.

        Keys are characters, billed, cached, calls, ...
        """
        return await self.ledger.jobs.usage(self.namespace, day)

    async def quota(self) -> QuotaStatus | None:
        """Return this namespace's limits and what is taken of them; None where it has none."""
        return await self.ledger.quotas.status(self.namespace)

    async def workers(self) -> list[WorkerInfo]:
        """Return the worker processes that are alive."""
        return await self.ledger.workers.known()

    async def check_provider(self, request: Request) -> None:
        """Refuse a provider that nobody knows: UnknownModel, with the names that are near.

        One that a worker has served within the last month is known: its jobs wait for a worker.
        """
        asked = request.providers | {each.provider for each in request.form.fallback or ()}
        known = {*BUILT_IN_PROVIDERS, *self.settings.providers, *self.settings.endpoints}
        if asked <= known:
            return
        for worker in await self.workers():
            known |= worker.providers.keys()
        if not asked <= known:
            known |= await self.ledger.overview.offered()
        if unknown := sorted(asked - known):
            raise UnknownModel(
                request.model if request.provider in unknown else f"{unknown[0]}/...",
                (f"{provider}/..." for provider in known),
                note="(no such provider is built in or set, and no worker has served it lately)",
            )
