"""Headers of every answer, and checks of a request's origin and host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechfleet.gateway.error_responses import error_response
from speechfleet.gateway.errors import GatewayError, MalformedHead, OriginRefused

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{0,260}").fullmatch
FORWARDING = {"forwarded", "via", "x-real-ip"}
"""Headers of proxies, beside all that begin with `x-forwarded-`."""


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address means this machine alone."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class OriginCheck:
    """Add the security headers, and refuse requests of other sites' pages.

    ``origins``: sites whose pages may use the gateway all the same. ``loopback_only``: there
    are no keys, so only this machine is served. A name that some site made point here (DNS
    rebinding) and a proxy's requests for others are refused then.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], loopback_only: bool) -> None:
        self._app = app
        self._origins = set(origins)
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            # A page may open a WebSocket anywhere, and then reads what comes.
            method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
            self._check(method, Headers(scope=scope))
        except GatewayError as error:
            await error_response(error)(scope, receive, send_secured)
            return
        await self._app(scope, receive, send_secured)

    def _check(self, method: str, headers: Headers) -> None:
        host = _host(headers)
        if self._loopback_only:
            _check_local(host, headers)
        origin = headers.get("origin")
        if origin in self._origins or (origin is not None and _netloc(origin) == host):
            return
        if origin is not None and method not in SAFE_METHODS:
            raise OriginRefused(f"pages of {origin[:80]!r} may not use this gateway")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not _is_visit(method, headers):
            raise OriginRefused(
                "pages of other sites may not use this gateway, not even to embed its audio "
                "(SPEECHFLEET_GATEWAY_ORIGINS names those that may, by requests with CORS)"
            )


def _host(headers: Headers) -> str:
    """Return the one Host of a request, "" where there is none. Raises MalformedHead."""
    hosts = headers.getlist("host")
    if len(hosts) > 1:
        raise MalformedHead("the request has several Host headers")
    host = hosts[0] if hosts else ""
    if _name(host) is None:
        raise MalformedHead(f"the request's Host is no name or address: {host[:80]!r}")
    return host


def _check_local(host: str, headers: Headers) -> None:
    """Refuse what does not come from this machine. Raises OriginRefused."""
    if not is_loopback(_name(host) or ""):
        raise OriginRefused(
            f"without API keys only this machine is served, by its own name, not {host[:80]!r}"
        )
    for name in headers:
        if name in FORWARDING or name.startswith("x-forwarded-"):
            raise OriginRefused(
                f"without API keys only this machine is served, and a proxy sent this request "
                f"({name}): make a key with `speechfleet key NAMESPACE` and set "
                "SPEECHFLEET_GATEWAY_KEYS"
            )


def _is_visit(method: str, headers: Headers) -> bool:
    """Tell whether somebody followed a link to here, to look at a page."""
    mode, goal = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return method in SAFE_METHODS and (mode, goal) == ("navigate", "document")


def _name(host: str) -> str | None:
    """Return the name in a Host header, "" for an empty one, None where it is malformed."""
    if not _HOST(host):
        return None
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts.hostname or ""


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
