"""Keep one SDK client for each event loop and account, closed with the loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

Client = TypeVar("Client")


class LoopClients(Generic[Client]):
    """Clients that belong to an event loop, as a client's connections do.

    Each lives inside an async generator, because a loop closes its generators when it ends
    (`loop.shutdown_asyncgens`, which `asyncio.run` calls): so nobody has to remember to.
    """

    def __init__(self, close: Callable[[Client], Awaitable[None]]) -> None:
        self._close = close
        self._kept: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[Hashable, tuple[Client, AsyncGenerator[Client, None]]]
        ] = WeakKeyDictionary()

    async def get(self, account: Hashable, make: Callable[[], Client]) -> Client:
        """Return this loop's client of ``account``; make it where there is none yet."""
        clients = self._kept.setdefault(asyncio.get_running_loop(), {})
        if account not in clients:
            keeper = self._keep(account, make())
            # The first step ends without a pause, so that no other task comes in between.
            clients[account] = (await anext(keeper), keeper)
        return clients[account][0]

    async def close(self, account: Hashable) -> None:
        """Close this loop's client of ``account``; idempotent."""
        clients = self._kept.get(asyncio.get_running_loop(), {})
        if account in clients:
            await clients[account][1].aclose()

    async def _keep(self, account: Hashable, client: Client) -> AsyncGenerator[Client, None]:
        loop = asyncio.get_running_loop()
        try:
            yield client
        finally:
            self._kept.get(loop, {}).pop(account, None)
            await self._close(client)


def account(arguments: Mapping[str, Any]) -> str:
    """Make a key of a client's arguments: calls with equal ones share a client.

    Objects count by identity, which is safe because the client keeps them alive.
    """
    return json.dumps(arguments, sort_keys=True, default=lambda value: f"{type(value)}{id(value)}")
