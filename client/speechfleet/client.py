"""The asynchronous client; `speechfleet.sync` is the same without ``await``."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict

from pydantic import SecretStr

from speechfleet.corpus.batch import AsyncBatch, Texts
from speechfleet.corpus.captions import Form
from speechfleet.errors import UnknownModel
from speechfleet.job import AsyncJob, Status
from speechfleet.jobs import Lane, Record, Request, SegmentMode, State, Wire, check_id
from speechfleet.ledger import Batches, Connection, Fleet, Hub, Jobs
from speechfleet.ledger.fleet import Worker
from speechfleet.ledger.jobs import Submitted
from speechfleet.settings import Settings
from speechfleet.settings import settings as process_settings
from speechfleet.store import Store, open_store
from speechfleet.tts import Msg

BUILT_IN_PROVIDERS = ("dashscope", "espeak", "gemini", "openai")
WORKERS_KNOWN_FOR = 2.0
"""Seconds for which a look at the fleet's workers is taken as fresh."""
BULK = 500
"""Submits under way at once in `AsyncClient.submit_many`."""
SENDING = 0.001
"""Seconds in which what is sent gets on its way, before the next are made ready."""


class Order(TypedDict):
    """Keywords of `submit` beside the message. What is not named here is the provider's option."""

    model: str
    voice: NotRequired[str]
    format: NotRequired[str]
    lane: NotRequired[Lane | Literal["live", "batch"]]
    segments: NotRequired[SegmentMode | None]
    live: NotRequired[bool | None]
    wire: NotRequired[Wire]
    cache: NotRequired[bool]


class AsyncClient:
    """A fleet, seen from outside. One event loop; any number of jobs at once.

    Settings come from the environment; ``redis_url``, ``store`` and ``namespace`` override.
    Opening checks the server; errors of Redis come as FleetUnavailable and MisconfiguredError.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        redis_url: str | None = None,
        store: str | None = None,
        namespace: str | None = None,
    ) -> None:
        settings = settings or process_settings()
        changes: dict[str, Any] = {"store": store, "namespace": namespace}
        if redis_url is not None:
            changes["redis_url"] = SecretStr(redis_url)
        settings = settings.model_copy(update={k: v for k, v in changes.items() if v is not None})
        self.settings = settings
        self.namespace = check_id(settings.namespace)
        self.connection = Connection(settings)
        self.ledger = Jobs(self.connection)
        self.batches = Batches(self.connection)
        self.fleet = Fleet(self.connection)
        self.hub = Hub(self.connection)
        self._store: Store | None = None
        self._workers: tuple[float, list[Worker]] = (0.0, [])

    async def __aenter__(self) -> Self:
        try:
            await self.connection.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Jobs go on; only the following and waiting of this client end."""
        await self.hub.close()
        if self._store is not None:
            await self._store.close()
        await self.connection.close()

    @property
    def store(self) -> Store:
        """Opened when it is first needed. Raises MisconfiguredError, MissingExtra."""
        if self._store is None:
            self._store = open_store(self.settings.required_store)
        return self._store

    async def submit(self, msg: Msg | str, **order: Any) -> AsyncJob:
        """Enqueue a message under its id; at once, whether or not a worker is up.

        ``model`` ("provider/model") is needed; ``voice``, ``format``, ``lane``, ``segments``,
        ``live``, ``wire``, ``cache`` as in `Request`; every other keyword is an option of the
        provider. A str is a Msg with an id of its own. Idempotent: the same id with the same
        request is the same job, also when that has ended. Raises Conflict, InvalidRequest.
        """
        id, request = self.request(msg, order)
        await self._check_provider(request)
        await self.ledger.submit(self.namespace, id, request)
        return AsyncJob(self, id, request)

    async def submit_many(self, messages: Iterable[Msg | str], **order: Any) -> list[AsyncJob]:
        """The same for many messages with one order, in their order, a few hundred at a time.

        Each is written on its own: where one is refused, those before it stand.
        """
        jobs: list[AsyncJob] = []
        sending: asyncio.Task[list[Submitted]] | None = None
        iterator = iter(messages)
        try:
            while bulk := list(itertools.islice(iterator, BULK)):
                requests = [self.request(msg, order) for msg in bulk]
                await (sending or self._check_provider(requests[0][1]))
                jobs += [AsyncJob(self, id, request) for id, request in requests]
                sending = asyncio.create_task(self.ledger.submit_all(self.namespace, requests))
                await asyncio.sleep(SENDING)
        finally:
            if sending is not None:
                await sending
        return jobs

    def request(self, msg: Msg | str, order: Mapping[str, Any]) -> tuple[str, Request]:
        """The id and the checked request of an order, without sending it."""
        if isinstance(msg, str):
            msg = Msg(name="", content=msg, role="assistant")
        known = {name: order[name] for name in _ORDER if name in order}
        options = {name: value for name, value in order.items() if name not in _ORDER}
        if "lane" in known:
            known["lane"] = Lane(known["lane"])
        request = Request(text=msg.text(), options=options, name=msg.name, role=msg.role, **known)
        request.check(self.settings.max_text)
        return check_id(msg.id), request

    def batch(
        self,
        items: Texts = (),
        *,
        id: str | None = None,
        out: Path | str | None = None,
        remote: bool = False,
        captions: Form | None = None,
        window: int | None = None,
        max_chars: float | None = None,
        max_cost: float | None = None,
        **order: Any,
    ) -> AsyncBatch:
        """Many texts, spoken once each; nothing is sent before its `results` are read.

        ``items``: any iterable, read lazily, of texts, (id, text), Msg, or mappings with
        ``text``, ``id`` and any field of the order. ``out``: a folder for audio and manifest,
        by which a later run goes on; without, the entries name objects of the store.
        ``window``: items in the fleet at once. ``max_chars``, ``max_cost``: what this run may
        spend. ``order`` as in `submit`. Without items: the handle of the batch ``id``.
        """
        return AsyncBatch(
            self, items, order, id=id, out=out, remote=remote, captions=captions,
            window=window, max_chars=max_chars, max_cost=max_cost,
        )  # fmt: skip

    def job(self, id: str) -> AsyncJob:
        """The handle of a job that was submitted, here or elsewhere; nothing is asked yet."""
        return AsyncJob(self, check_id(id))

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
        if time.monotonic() - at > WORKERS_KNOWN_FOR:
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

    async def _check_provider(self, request: Request) -> None:
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


_ORDER = tuple(Order.__annotations__)
