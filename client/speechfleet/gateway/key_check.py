"""Identification of requests by API key or login, before their body is read."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from speechfleet.errors import SpeechFleetError
from speechfleet.gateway.access import CALLER, Caller, Keyring, digest
from speechfleet.gateway.error_responses import error_response
from speechfleet.gateway.errors import KeyRefused
from speechfleet.gateway.security import SAFE_METHODS
from speechfleet.gateway.stored_keys import StoredKeys
from speechfleet.gateway.subprotocols import headers_with_key
from speechfleet.ledger.api_keys import ADMIN, METRICS, READ, SPEAK
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.logins import Login

COOKIE = "speechfleet_login"
LOGIN_LIFETIME_S = 12 * 3600
SCOPE_OF_PATH = {"/metrics": METRICS, "/fleet": ADMIN}
"""Paths about the whole fleet, and the scope that each needs."""
OPEN_PATHS = {"/", "/healthz", "/readyz", "/login", "/logout", "/openapi.json", "/docs"}
"""Paths without a key. The pages of the console are open as well; they hold no data."""
LISTS = {"/v1/models", "/v1/audio/models", "/v1/audio/voices"}
"""Paths that are open where SPEECHFLEET_GATEWAY_OPEN_LISTS is set."""
DRAINED_BODY_BYTES = 64 << 10
"""The largest refused body that is read so that the connection can be used again."""


class Access:
    """Identify requests by API key or by the cookie of a login."""

    def __init__(self, keyring: Keyring, ledger: Ledger) -> None:
        self.keyring = keyring
        self._ledger = ledger
        self._stored = StoredKeys(ledger)

    async def log_in(self, key: str) -> str:
        """Return the token of a new login. Raises KeyRefused."""
        caller = await self._caller(digest(key))
        if caller is None:
            raise KeyRefused("this API key is not known here", code="invalid_api_key")
        await self._ledger.open()
        return await self._ledger.logins.create(
            Login(caller.namespace, caller.key), LOGIN_LIFETIME_S
        )

    async def log_out(self, token: str) -> None:
        """Revoke a login; idempotent."""
        await self._ledger.open()
        await self._ledger.logins.revoke(token)

    async def find(self, headers: Headers) -> Caller | None:
        """Return who sent these headers; None where no key or login is known."""
        key = bearer(headers)
        if not self.keyring.required:
            return self.keyring.caller(key)
        if key is not None:
            return await self._caller(digest(key))
        if not (token := login_token(headers)):
            return None
        await self._ledger.open()
        login = await self._ledger.logins.find(token)
        # A key that was taken out of the settings takes its logins with it.
        return None if login is None else await self._caller(login.key)

    async def _caller(self, key_digest: str) -> Caller | None:
        known = self.keyring.caller_of_digest(key_digest)
        return known or await self._stored.caller(key_digest)

    async def identify(self, headers: Headers) -> Caller:
        """Return who sent these headers. Raises KeyRefused."""
        if caller := await self.find(headers):
            return caller
        if bearer(headers) is not None:
            raise KeyRefused("this API key is not known here", code="invalid_api_key")
        raise KeyRefused("an API key is needed: send it as `Authorization: Bearer KEY`")


def bearer(headers: Headers) -> str | None:
    """Return the API key of a request, right or wrong; None where there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def login_token(headers: Headers) -> str:
    """Return the token in the request's cookie; "" where there is none."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _scope_needed(scope: Scope) -> str:
    """Name what a key needs for this request; over every WebSocket something is spoken."""
    if scope["type"] == "websocket":
        return SPEAK
    is_safe = scope["method"] in SAFE_METHODS
    return SCOPE_OF_PATH.get(scope["path"]) or (READ if is_safe else SPEAK)


class KeyCheck:
    """Refuse a request without a key before a byte of its body is read."""

    def __init__(self, app: ASGIApp, *, open_paths: set[str]) -> None:
        self._app = app
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        headers = headers_with_key(scope)
        try:
            caller = await scope["app"].state.gateway.access.identify(headers)
            caller.check(_scope_needed(scope))
            scope[CALLER] = caller
        except SpeechFleetError as error:
            refusal = error_response(error)
            size = headers.get("content-length", "0")
            is_short = size.isdigit() and int(size) <= DRAINED_BODY_BYTES
            if not is_short or "transfer-encoding" in headers:
                refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)
