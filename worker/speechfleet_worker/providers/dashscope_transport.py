"""What both DashScope adapters share: key and URLs, the loop's connector, and the errors.

Neither the SDK nor aiohttp is imported before the first model is built.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

from speechfleet.errors import (
    AuthenticationFailed,
    MissingExtra,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from speechfleet.tts import TTSUsage

if TYPE_CHECKING:
    import aiohttp

KEY_VARIABLE = "DASHSCOPE_API_KEY"
_MESSAGE_LIMIT = 500


def sdk() -> ModuleType:
    """The dashscope package, imported on first use (0.8 s); MissingExtra where there is none."""
    try:
        import dashscope  # noqa: PLC0415 - only a worker that serves it pays for the import
    except ModuleNotFoundError:
        raise MissingExtra("DashScope", "dashscope") from None
    return dashscope


def required_key(api_key: str | None) -> str:
    """``api_key``, or the environment's; AuthenticationFailed naming the variable."""
    key = api_key or os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise AuthenticationFailed(f"no DashScope key: set {KEY_VARIABLE} or pass api_key")
    return key


# --- connections ----------------------------------------------------------------------------

_connectors: dict[
    asyncio.AbstractEventLoop, tuple[AsyncGenerator[aiohttp.TCPConnector, None], Any]
] = {}


async def loop_connector() -> aiohttp.TCPConnector:
    """The running loop's pool of connections, shared by all accounts (keys travel per call).

    It lives in an async generator, because that is what a loop closes at its own end
    (`asyncio.run` and all that call ``shutdown_asyncgens``). The SDK's own pool is never used:
    it leaks one session per loop.
    """
    loop = asyncio.get_running_loop()
    if loop not in _connectors:
        keeper = _keep_connector(loop)
        _connectors[loop] = (keeper, await anext(keeper))
    connector: aiohttp.TCPConnector = _connectors[loop][1]
    return connector


async def _keep_connector(
    loop: asyncio.AbstractEventLoop,
) -> AsyncGenerator[aiohttp.TCPConnector, None]:
    import aiohttp  # noqa: PLC0415 - comes with the SDK
    from dashscope.api_entities.aio_session import (  # noqa: PLC0415 - likewise
        get_ssl_context,
    )

    # No limit: how many calls may run at once is the fleet's to say, not the pool's.
    connector = aiohttp.TCPConnector(limit=0, ssl=get_ssl_context())
    try:
        yield connector
    finally:
        del _connectors[loop]
        await connector.close()


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

_BY_STATUS: dict[int, type[ProviderError]] = {
    400: RequestRejected,
    401: AuthenticationFailed,
    402: QuotaExceeded,
    403: AuthenticationFailed,
    404: RequestRejected,
    413: RequestRejected,
    422: RequestRejected,
    429: RateLimited,
}


def provider_error(
    message: str,
    *,
    code: str = "",
    status: int = 0,
    request_id: str = "",
    headers: Mapping[str, str] | None = None,
    secret: str = "",
) -> ProviderError:
    """The error for what DashScope said; the code decides, the status only where it is silent.

    (In the middle of a stream DashScope says status 400 whatever happened: pass 0 there, and
    an unknown code is then worth a retry.) ``secret`` never gets into the message.
    """
    kind = _kind(code, message, status)
    text = message if not secret else message.replace(secret, "***")
    error = kind(
        f"DashScope: {text[:_MESSAGE_LIMIT] or code or f'status {status}'}",
        provider_code=code,
        request_id=request_id,
        status=status,
    )
    if isinstance(error, (RateLimited, ProviderUnavailable)):
        error.retry_after = _retry_after(headers or {})
    return error


def _kind(code: str, message: str, status: int) -> type[ProviderError]:
    if "free allocated quota exceeded" in message.lower():
        return QuotaExceeded
    plain = code.replace("_", "").replace(".", "").replace("-", "").lower()
    for beginning, kind in _BY_CODE:
        if plain.startswith(beginning):
            return kind
    return _BY_STATUS.get(status, ProviderUnavailable)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from ``Retry-After`` as seconds or as a date."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def usage_of(usage: Mapping[str, Any] | None) -> TTSUsage | None:
    """DashScope's ``usage``; newer models bill characters, older ones tokens."""
    if not usage:
        return None
    return TTSUsage(
        input_tokens=int(usage.get("input_tokens") or 0),
        output_tokens=int(usage.get("output_tokens") or 0),
        characters=int(usage.get("characters") or 0),
    )
