"""The asynchronous client; `speechfleet.sync` is the same without ``await``."""

from __future__ import annotations

import asyncio
import copy
import itertools
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict

from pydantic import SecretStr

from speechfleet import tracing
from speechfleet.corpus.batch import AsyncBatch, Texts
from speechfleet.corpus.captions import Form
from speechfleet.errors import InvalidRequest
from speechfleet.job import AsyncJob
from speechfleet.jobs import Lane, Request, SegmentMode, Wire, check_id
from speechfleet.ledger import Batches, Connection, Feeds, Fleet, Hub, Jobs, Telemetry
from speechfleet.ledger.jobs import Submitted
from speechfleet.overview import Overview
from speechfleet.session import OPEN_TIMEOUT, AsyncSession
from speechfleet.settings import Settings
from speechfleet.settings import settings as process_settings
from speechfleet.store import Store, open_store
from speechfleet.tts import Msg

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


class AsyncClient(Overview):
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
        if settings.traces:
            tracing.enable()
        self.connection = Connection(settings)
        namespace = check_id(settings.namespace)
        super().__init__(settings, namespace, Jobs(self.connection), Fleet(self.connection))
        self.batches = Batches(self.connection)
        self.feeds = Feeds(self.connection)
        self.hub = Hub(self.connection)
        self.telemetry = Telemetry(self.connection)
        self._opened: list[Store] = []

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
        for store in self._opened:
            await store.close()
        await self.connection.close()

    @property
    def store(self) -> Store:
        """Opened when it is first needed. Raises MisconfiguredError, MissingExtra."""
        if not self._opened:
            self._opened.append(open_store(self.settings.required_store))
        return self._opened[0]

    def within(self, namespace: str) -> AsyncClient:
        """The same client in another namespace; both share all connections, this one owns them."""
        other = copy.copy(self)
        other.namespace = check_id(namespace)
        return other

    async def submit(self, msg: Msg | str, **order: Any) -> AsyncJob:
        """Enqueue a message under its id; at once, whether or not a worker is up.

        ``model`` ("provider/model") is needed; ``voice``, ``format``, ``lane``, ``segments``,
        ``live``, ``wire``, ``cache`` as in `Request`; every other keyword is an option of the
        provider. A str is a Msg with an id of its own. Idempotent: the same id with the same
        request is the same job, also when that has ended. Raises Conflict, InvalidRequest.
        """
        with tracing.span("submit", model=str(order.get("model", ""))):
            id, request = self.request(msg, order)
            await self.check_provider(request)
            await self.ledger.submit(self.namespace, id, request)
        return AsyncJob(self, id, request)

    def session(
        self,
        *,
        model: str,
        voice: str = "",
        id: str | None = None,
        resume: bool = False,
        open_timeout: float = OPEN_TIMEOUT,
        linear: bool = False,
        format: str = "wav",
        cache: bool = True,
        name: str = "",
        **options: Any,
    ) -> AsyncSession:
        """Speech for a text that is still being written: ``async with`` it, then push.

        Without ``id`` it gets one of its own. ``resume``: go on with the one of this id, from
        whatever process. ``open_timeout``: seconds that entering waits for a worker with room.
        ``linear``: never take back audio that was handed out, as in `AsyncJob.stream`.
        Every other keyword is an option of the provider. Raises InvalidRequest.
        """
        request = Request(
            text="", model=model, voice=voice, options=options, format=format,
            lane=Lane.SESSION, cache=cache, name=name, open=True,
        )  # fmt: skip
        request.check(self.settings.session_text)
        own = check_id(id) if id is not None else uuid.uuid4().hex
        return AsyncSession(
            self, own, request, resume=resume, open_timeout=open_timeout, linear=linear
        )

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
                await (sending or self.check_provider(requests[0][1]))
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
            if known["lane"] is Lane.SESSION:
                raise InvalidRequest("lane='session': open it with session(), then push its text")
        known["trace"] = tracing.traceparent()
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


_ORDER = tuple(Order.__annotations__)
