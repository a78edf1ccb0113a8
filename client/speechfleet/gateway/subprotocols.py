"""Subprotocols of WebSockets: a browser sends its API key by one, for it can set no header."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

REALTIME = "realtime"
"""The subprotocol that is chosen where a client offers it."""
KEY_PREFIX = "openai-insecure-api-key."
"""Begins the subprotocol by which a browser, which can set no header, sends its key."""


def headers_with_key(scope: Scope) -> Headers:
    """Return the headers of a handshake; a key among its subprotocols counts as a bearer's."""
    headers = Headers(scope=scope)
    if "authorization" in headers:
        return headers
    for name in scope.get("subprotocols", ()):
        if name.startswith(KEY_PREFIX):
            value = f"Bearer {name.removeprefix(KEY_PREFIX)}".encode("latin-1", "replace")
            return Headers(raw=[*headers.raw, (b"authorization", value)])
    return headers


def chosen_subprotocol(scope: Scope) -> str | None:
    """Return the subprotocol to answer with; browsers break off without one that they offered."""
    return REALTIME if REALTIME in scope["subprotocols"] else None
