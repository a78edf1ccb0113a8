"""The state that all requests of one gateway share, and the context of one request."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Path, Request

from speechfleet.client import AsyncClient
from speechfleet.gateway.access import CALLER, Caller, KeyFile, Keyring
from speechfleet.gateway.batches.batch_checks import BatchChecks
from speechfleet.gateway.key_check import Access
from speechfleet.gateway.listeners import Listeners
from speechfleet.gateway.metrics import HttpMetrics
from speechfleet.gateway.offered_models import ModelCache, OfferedModels
from speechfleet.gateway.readiness import Readiness
from speechfleet.gateway.stream_limit import StreamLimit
from speechfleet.job import AsyncJob
from speechfleet.settings import Settings


class Gateway:
    """The state of one gateway process.

    ``stopping`` is set when the process shuts down: endless answers end then.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.streams = StreamLimit(settings.gateway_streams)
        self.listeners = Listeners()
        self.metrics = HttpMetrics()
        self.stopping = asyncio.Event()
        self.client = AsyncClient(settings)
        path = settings.gateway_keys_file
        file = None if path is None else KeyFile(path)
        keyring = Keyring(
            settings.gateway_keys, settings.namespace, file, stored=settings.gateway_stored_keys
        )
        self.access = Access(keyring, self.client.ledger)
        self.models = ModelCache()
        self.readiness = Readiness(self.client)
        self.batch_checks = BatchChecks(self.client, self.models)

    async def close(self) -> None:
        """Close the connections to Redis and the store."""
        await self.client.close()

    async def within(self, namespace: str) -> AsyncClient:
        """Return the client of a namespace. Raises FleetUnavailable.

        Connects anew where Redis was away.
        """
        await self.client.ledger.open()
        return self.client.within(namespace)


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that a request came to."""
    gateway: Gateway = request.app.state.gateway
    return gateway


class RequestContext:
    """Holds a request: its gateway, its caller, and the fleet as far as the caller may see it."""

    def __init__(self, request: Request, gateway: Gateway, caller: Caller, client: AsyncClient):
        self.request = request
        self.gateway = gateway
        self.caller = caller
        self.client = client

    @property
    def settings(self) -> Settings:
        """The settings of the gateway."""
        return self.gateway.settings

    @property
    def is_operator(self) -> bool:
        """Tell whether the caller may see the whole fleet, not its own namespace alone."""
        operators = self.settings.gateway_operators
        return not operators or self.caller.namespace in operators

    async def models(self) -> OfferedModels:
        """Return the models that live workers offer. Raises FleetUnavailable."""
        return await self.gateway.models.get(self.client)

    def stream(self) -> AbstractContextManager[None]:
        """Hold one of the streams that the caller's key may have open. Raises TooManyStreams."""
        return self.gateway.streams.stream(self.caller.key)

    def listening(
        self, job: AsyncJob, *, is_private: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Count a listener of a job; ``is_private``: nobody else can know of the job yet."""
        cancel = is_private and self.settings.gateway_cancel
        return self.gateway.listeners.listening(self.client, job, cancel=cancel)


async def _context(request: Request) -> RequestContext:
    gateway = gateway_of(request)
    # Only paths that need no key come here without a caller.
    caller: Caller = request.scope.get(CALLER) or Caller(gateway.settings.namespace)
    return RequestContext(request, gateway, caller, await gateway.within(caller.namespace))


CurrentContext = Annotated[RequestContext, Depends(_context)]


async def _job(
    context: CurrentContext, id: Annotated[str, Path(description="msg.id")]
) -> AsyncJob:
    # Paths are matched as they were sent, so that an id may hold anything, slashes too.
    return context.client.job(unquote(id))


RequestedJob = Annotated[AsyncJob, Depends(_job)]
