"""Keep a client for each event loop, for code that is set up before any loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from speechfleet.client import AsyncClient

_Key = tuple[asyncio.AbstractEventLoop, str | None, str | None, str | None]


async def shared_client(
    *, redis_url: str | None = None, store: str | None = None, namespace: str | None = None
) -> AsyncClient:
    """Return the running event loop's client, opened by the first call; do not close it.

    It closes when its loop ends (`asyncio.run` sees to that). Its settings are those of the
    environment, unless overridden; there is one client for the same overrides. So whatever is
    set up at import, in another thread, in a prewarm hook or before a fork calls this where it
    speaks, and all of a loop's callers share the connections. Raises FleetUnavailable,
    MisconfiguredError; the next call tries again then.
    """
    for ended in [each for each in _SHARED if each[0].is_closed()]:
        del _SHARED[ended]
    key = (asyncio.get_running_loop(), redis_url, store, namespace)
    shared = _SHARED.get(key)
    if shared is None:
        shared = _SHARED[key] = _SharedClient(key)
    try:
        return await asyncio.shield(shared.opening)
    except asyncio.CancelledError:
        raise
    except BaseException:
        if _SHARED.get(key) is shared:
            del _SHARED[key]
        raise


class _SharedClient:
    def __init__(self, key: _Key) -> None:
        # A loop that ends closes the generators that began on it, and so this client.
        self._life = _life(key)
        self.opening = asyncio.ensure_future(anext(self._life))


async def _life(key: _Key) -> AsyncGenerator[AsyncClient, None]:
    _, redis_url, store, namespace = key
    client = await asyncio.to_thread(  # it may ask a server whether it is there
        AsyncClient, redis_url=redis_url, store=store, namespace=namespace
    )
    async with client:
        try:
            yield client
        finally:
            _SHARED.pop(key, None)


_SHARED: dict[_Key, _SharedClient] = {}
