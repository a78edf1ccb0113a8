"""What all requests of one gateway share, and what each of them gets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
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

    async def listen(self, held: AsyncExitStack, job: AsyncJob, *, cancel: bool = False) -> None:
        """Take a stream of this key, to listen to the job until ``held`` is left."""
        held.enter_context(self.gateway.streams.one(self.caller.key))
        listeners = self.gateway.listeners
        wanted = cancel and self.settings.gateway_cancel
        await held.enter_async_context(listeners.listening(self.client, job, cancel=wanted))


async def _visit(request: Request) -> Visit:
    gateway = gateway_of(request)
    caller = gateway.keyring.identify(request)
    return Visit(request, gateway, caller, await gateway.within(caller.namespace))


Guest = Annotated[Visit, Depends(_visit)]


async def _job(visit: Guest, id: Annotated[str, Path(description="msg.id")]) -> AsyncJob:
    # Paths are matched as they were sent, so that an id may hold anything, slashes too.
    return visit.client.job(unquote(id))


Job = Annotated[AsyncJob, Depends(_job)]
