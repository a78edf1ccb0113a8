"""Shared by both DashScope adapters: key and URLs, the loop's connector, the errors.

Neither the SDK nor aiohttp is imported before the first model is built.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from speechfleet.errors import (
    AuthenticationFailed,
    MissingExtra,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from speechfleet.settings import Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers import failures
from speechfleet_worker.providers.base import bounded_count
from speechfleet_worker.providers.clients import LoopClients
from speechfleet_worker.providers.failures import failure, kind_of, retry_after, shown_address
from speechfleet_worker.providers.timeouts import connect_timeout

if TYPE_CHECKING:
    import aiohttp

KEY_VARIABLE = "DASHSCOPE_API_KEY"
BASE_URL = "https://dashscope.aliyuncs.com/api/v1"
REALTIME_URL = "wss://dashscope.aliyuncs.com/api-ws/v1/realtime"
_LINE_LIMIT = 8 << 20
"""Bytes of one event: a call's whole audio may come in one (600 units speak ~5 MB of base64)."""


def sdk() -> ModuleType:
    """Import the dashscope package, on first use (0.8 s); MissingExtra where there is none."""
    try:
        import dashscope
    except ModuleNotFoundError:
        raise MissingExtra("DashScope", "dashscope") from None
    return dashscope


def required_key(api_key: str | None) -> str:
    """Return ``api_key``, or the environment's; AuthenticationFailed names the variable."""
    key = api_key or os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise AuthenticationFailed(f"no DashScope key: set {KEY_VARIABLE} or pass api_key")
    return key


# --- connections ----------------------------------------------------------------------------

_connectors: LoopClients[aiohttp.TCPConnector] = LoopClients(lambda connector: connector.close())


async def loop_connector() -> aiohttp.TCPConnector:
    """Return the running loop's pool of connections, shared by all accounts.

    The SDK's own pool is never used: it leaks one session per loop.
    """
    import aiohttp
    from dashscope.api_entities.aio_session import get_ssl_context

    # No limit: how many calls may run at once is the fleet's to say, not the pool's.
    return await _connectors.get("", lambda: aiohttp.TCPConnector(limit=0, ssl=get_ssl_context()))


def proxy_for(url: str) -> str | None:
    """Find the environment's proxy for ``url``, as the SDK does.

    (aiohttp's own ``trust_env`` also reads ~/.netrc, in a thread, and refuses the request where
    it finds the host there.)
    """
    parts = urlsplit(url)
    proxy = getproxies().get({"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme))
    return None if proxy is None or proxy_bypass(parts.hostname or "") else proxy


async def send_once(
    request: aiohttp.ClientRequest,
    handler: aiohttp.ClientHandlerType,
    hands_out_redirects: bool = False,
) -> aiohttp.ClientResponse:
    """Send a request, as a middleware; failures leave as ours.

    Neither the SDK nor aiohttp takes ours for a reason to send again: retries have one owner,
    and that is the queue. Redirects are not followed: a server could have a worker ask
    anything that it reaches.
    """
    try:
        response = await handler(request)
    except transport_errors() as error:
        raise unreachable(error, shown_address(str(request.url))) from None
    if failures.is_redirect(response.status) and not hands_out_redirects:
        response.close()
        raise failures.redirected(response.status)
    return response


class Exchange:
    """The traffic of one call, between the SDK and the loop's connector.

    The SDK takes a session from its caller. This one reads long lines, does not let the SDK
    send again what failed, limits the time to connect, and closes the connection at once when
    the call is given up: the SDK's nested generators alone would leave it to the collector.
    """

    session: aiohttp.ClientSession

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._responses: list[aiohttp.ClientResponse] = []
        self._connecting: asyncio.Timeout | None = None
        self._address = "DashScope"
        self.hands_out_redirects = False
        """Set while the caller checks redirects itself; else a redirect is an error."""

    @classmethod
    async def open(cls, base_url: str, timeouts: Timeouts) -> Self:
        import aiohttp

        exchange = cls(timeouts)
        exchange._address = shown_address(base_url)
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(exchange._connected)
        exchange.session = aiohttp.ClientSession(
            connector=await loop_connector(),
            connector_owner=False,
            read_bufsize=_LINE_LIMIT,
            proxy=proxy_for(base_url),
            middlewares=(exchange._send,),
            trace_configs=[trace],
        )
        return exchange

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for response in self._responses:
            response.close()
        await self.session.close()

    @property
    def status(self) -> int:
        """Return the status of the last answer, 0 before the first."""
        return self._responses[-1].status if self._responses else 0

    async def body(self) -> dict[str, Any]:
        """Read the last answer's JSON object; {} where it is none, a stream, or broken off."""
        if not self._responses or "json" not in self._responses[-1].content_type:
            return {}
        unreadable: tuple[type[Exception], ...] = (ValueError, *transport_errors())
        try:
            body = await self._responses[-1].json()
        except unreadable:
            return {}
        return body if isinstance(body, dict) else {}

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._timeouts.connect) as self._connecting:
                response = await send_once(request, handler, self.hands_out_redirects)
        except TimeoutError:
            raise connect_timeout(self._timeouts.connect, self._address) from None
        self._responses.append(response)
        return response

    async def _connected(self, *_: object) -> None:
        if self._connecting is not None:
            self._connecting.reschedule(None)


# --- errors ---------------------------------------------------------------------------------

_BY_CODE: tuple[tuple[str, type[ProviderError]], ...] = (
    ("arrearage", QuotaExceeded),
    ("allocationquota", QuotaExceeded),
    ("insufficient", QuotaExceeded),
    ("throttling", RateLimited),
    ("ratelimit", RateLimited),
    ("limitrequests", RateLimited),
    ("invalidapikey", AuthenticationFailed),
    ("accessdenied", AuthenticationFailed),
    ("modelaccessdenied", AuthenticationFailed),
    ("unauthorized", AuthenticationFailed),
    ("invalidparameter", RequestRejected),
    ("invalidvalue", RequestRejected),
    ("invalidrequest", RequestRejected),
    ("datainspection", RequestRejected),
    ("modelnot", RequestRejected),
    ("badrequest", RequestRejected),
    ("unsupported", RequestRejected),
    ("internal", ProviderUnavailable),
    ("server", ProviderUnavailable),
    ("service", ProviderUnavailable),
    ("gatewaytimeout", ProviderUnavailable),
    ("requesttimeout", ProviderUnavailable),
    ("systemerror", ProviderUnavailable),
)
"""Beginnings of codes, without case and punctuation: the HTTP protocol says ``InvalidApiKey``,
the realtime one ``invalid_api_key``."""


def provider_error(
    message: str,
    *,
    code: str = "",
    status: int = 0,
    request_id: str = "",
    headers: Mapping[str, str] | None = None,
    secret: str = "",
) -> ProviderError:
    """Make the error for DashScope's answer; the code decides, else the status.

    (In the middle of a stream DashScope says status 400 whatever happened: pass 0 there, and
    an unknown code is then worth a retry.) ``secret`` never gets into the message.
    """
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    return failure(
        status,
        message or code,
        kind=_kind(code, message, status),
        provider_code=code,
        request_id=request_id,
        retry_after=retry_after(lower),
        secrets=(secret,),
    )


def _kind(code: str, message: str, status: int) -> type[ProviderError]:
    if "free allocated quota exceeded" in message.lower():
        return QuotaExceeded
    plain = code.replace("_", "").replace(".", "").replace("-", "").lower()
    for beginning, kind in _BY_CODE:
        if plain.startswith(beginning):
            return kind
    return kind_of(status) if status else ProviderUnavailable


def transport_errors() -> tuple[type[Exception], ...]:
    """List the errors of a failed connection, for an ``except`` clause."""
    import aiohttp

    return (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError)


def unreachable(error: Exception, address: str = "DashScope") -> ProviderUnavailable:
    """Make the error for one of the `transport_errors`."""
    if isinstance(error, TimeoutError):
        return ProviderTimeout(f"{address} did not go on with its answer")
    return failures.unreachable(address, error)


def decoded(audio: object) -> bytes:
    """Decode a base64 field."""
    try:
        return b64decode(str(audio or ""), validate=True)
    except ValueError:
        raise ProviderUnavailable("DashScope sent audio that does not decode") from None


def usage_of(usage: Mapping[str, Any] | None) -> TTSUsage | None:
    """Read DashScope's ``usage``; newer models bill characters, older ones tokens."""
    if not usage:
        return None
    return TTSUsage(
        input_tokens=bounded_count(usage.get("input_tokens")),
        output_tokens=bounded_count(usage.get("output_tokens")),
        characters=bounded_count(usage.get("characters")),
    )
