"""What all requests of one gateway share, and what each of them gets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Path, Request

from speechfleet.client import AsyncClient
from speechfleet.gateway.access import Caller, Keyring
from speechfleet.gateway.limits import Streams
from speechfleet.gateway.listening import Listeners
from speechfleet.gateway.metrics import HttpMetrics
from speechfleet.job import AsyncJob
from speechfleet.settings import Settings


class Gateway:
    """One per process. ``stopping`` is set when it shuts down: endless answers end then."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keyring = Keyring(settings.gateway_keys, settings.namespace)
        self.streams = Streams(settings.gateway_streams)
        self.listeners = Listeners()
        self.metrics = HttpMetrics()
        self.stopping = asyncio.Event()
        self.client = AsyncClient(settings)

    async def close(self) -> None:
        await self.client.close()

    async def within(self, namespace: str) -> AsyncClient:
        """Raises FleetUnavailable, as does all else; a fleet that is back is found again."""
        await self.client.connection.open()
        return self.client.within(namespace)


def gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


class Visit:
    """One request: its gateway, who it is, and the fleet as far as it may see it."""

    def __init__(self, request: Request, gateway: Gateway, caller: Caller, client: AsyncClient):
        self.request = request
        self.gateway = gateway
        self.caller = caller
        self.client = client

    @property
    def settings(self) -> Settings:
        return self.gateway.settings

    @contextmanager
    def stream(self) -> Iterator[None]:
        """One of the streams that the key may have open. Raises TooManyStreams."""
        with self.gateway.streams.one(self.caller.key):
            yield

    def listening(
        self, job: AsyncJob, *, only_for_it: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """As `Listeners.listening`; ``only_for_it``: nobody else knows of the job yet."""
        cancel = only_for_it and self.settings.gateway_cancel
        return self.gateway.listeners.listening(self.client, job, cancel=cancel)


async def _visit(request: Request) -> Visit:
    gateway = gateway_of(request)
    caller = gateway.keyring.identify(request)
    return Visit(request, gateway, caller, await gateway.within(caller.namespace))


Guest = Annotated[Visit, Depends(_visit)]


async def _job(visit: Guest, id: Annotated[str, Path(description="msg.id")]) -> AsyncJob:
    # Paths are matched as they were sent, so that an id may hold anything, slashes too.
    return visit.client.job(unquote(id))


Job = Annotated[AsyncJob, Depends(_job)]
