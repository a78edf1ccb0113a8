"""What a browser is told and asked: headers of every answer, origins, names of this host."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechfleet.gateway.failures import OriginRefused, answer

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
    "cache-control": "no-store",
}
SAFE = {"GET", "HEAD", "OPTIONS"}


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine alone."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Adds the headers, and turns away pages of other sites.

    ``origins``: those that may come all the same. ``loopback_only``: there are no keys, so a
    name that some site made point here (DNS rebinding) must not open what a key would guard.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], loopback_only: bool) -> None:
        self._app = app
        self._origins = set(origins)
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        app = self._app if refusal is None else answer(refusal)
        await app(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> OriginRefused | None:
        host = headers.get("host", "")
        if self._loopback_only and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return OriginRefused(
                f"without API keys only this machine is served, by its own name, not {host[:80]!r}"
            )
        origin = headers.get("origin")
        if origin is None or method in SAFE or origin in self._origins:
            return None
        if urlsplit(origin).netloc == host:
            return None
        return OriginRefused(f"pages of {origin[:80]!r} may not use this gateway")
