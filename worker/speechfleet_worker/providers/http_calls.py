"""Calls over HTTP for providers that need no SDK: streamed answers, errors mapped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechfleet.errors import MissingExtra, ProviderError, ProviderUnavailable
from speechfleet.settings import Timeouts
from speechfleet_worker.providers.clients import LoopClients
from speechfleet_worker.providers.failures import (
    is_redirect,
    redirected,
    shown_address,
    unreachable,
)
from speechfleet_worker.providers.timeouts import connect_timeout

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

LONGEST_ERROR_BYTES = 64 << 10

_clients: LoopClients[AsyncClient] = LoopClients(lambda client: client.aclose())


@dataclass(frozen=True)
class HttpRequest:
    """Describes a request. ``content``: the body, as it is sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes = b""


@asynccontextmanager
async def answer(
    request: HttpRequest,
    timeouts: Timeouts,
    refused: Callable[[int, bytes, Mapping[str, str]], ProviderError],
    *,
    extra: str,
) -> AsyncGenerator[Response, None]:
    """Open the answer to a request, to be read as it comes; left early, its connection closes.

    Redirects are not followed and nothing is sent twice. Raises what ``refused`` makes of an
    answer that is no success, ProviderTimeout, ProviderUnavailable, and MissingExtra, which
    names ``extra``.
    """
    client = await _clients.get("", lambda: _make_client(extra))
    import httpx

    address = shown_address(request.url)
    # Silence is watched over in one place, for all providers: `base.timed`.
    limits = httpx.Timeout(None, connect=timeouts.connect)
    try:
        async with client.stream(
            request.method, request.url, headers=request.headers, content=request.content,
            timeout=limits,
        ) as response:  # fmt: skip
            if is_redirect(response.status_code):
                raise redirected(response.status_code) from None
            if not response.is_success:
                body = await _beginning(response)
                raise refused(response.status_code, body, response.headers) from None
            yield response
    except httpx.TimeoutException:
        raise connect_timeout(timeouts.connect, address) from None
    except httpx.ConnectError as error:
        raise unreachable(address, error) from None
    except httpx.HTTPError as error:
        raise ProviderUnavailable(f"the connection to {address} broke: {error}") from None


async def _beginning(response: Response) -> bytes:
    """Read as much of an error's body as any error needs."""
    body = b""
    async for data in response.aiter_bytes():
        body += data
        if len(body) >= LONGEST_ERROR_BYTES:
            break
    return body


def _make_client(extra: str) -> AsyncClient:
    try:
        import httpx
    except ModuleNotFoundError:
        raise MissingExtra(f"the provider {extra!r}", extra) from None
    # How many calls may run at once is the fleet's to say, not the pool's.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(follow_redirects=False, limits=limits)
