"""The size and the time of a request's body, checked before anything is parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechfleet.gateway.access import CALLER
from speechfleet.gateway.error_responses import error_response
from speechfleet.gateway.errors import BodyTooLarge, BodyTooSlow, GatewayError

BODY_TIMEOUT_S = 30.0
"""Seconds in which a body must be complete; of a file: in which more of it must come."""
BODY_BYTES_WITHOUT_KEY = 4096
"""The largest body where no key was checked: enough for a login."""
FORM_BYTES = 64 << 10
"""Bytes of the form around a file."""
_SETTING, _UPLOAD_SETTING = "SPEECHFLEET_GATEWAY_BODY", "SPEECHFLEET_GATEWAY_FILE"


class BodyLimit:
    """Refuse a body that is too large, or too slow, without holding it."""

    def __init__(
        self, app: ASGIApp, *, limit: int, uploads: Mapping[str, int] | None = None
    ) -> None:
        """``uploads``: path -> bytes, where files are sent: they may come slowly, not stop."""
        self._app = app
        self._limit = limit
        self._uploads = uploads or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"] in self._uploads and CALLER in scope
        limit = self._uploads[scope["path"]] + FORM_BYTES if is_upload else self._limit
        if CALLER not in scope:
            limit = min(limit, BODY_BYTES_WITHOUT_KEY)
        setting = _UPLOAD_SETTING if is_upload else _SETTING
        too_large = BodyTooLarge(f"the body has more than {limit:,} bytes ({setting})")
        size = Headers(scope=scope).get("content-length", "0")
        if not size.isdigit() or len(size) > len(str(limit)) or int(size) > limit:
            await error_response(too_large)(scope, receive, send)
            return
        body = _Body(receive, limit, too_large, is_upload=is_upload)

        async def unless_refused(message: Message) -> None:
            # The application's answer to a broken body would hide the reason.
            if body.refusal is None:
                await send(message)

        await self._app(scope, body.receive, unless_refused)
        if body.refusal is not None:
            refusal = error_response(body.refusal)
            refusal.headers["connection"] = "close"  # the rest of the body may never end
            await refusal(scope, receive, send)


class _Body:
    """Receive a body, and count its bytes and its time."""

    def __init__(
        self, receive: Receive, limit: int, too_large: BodyTooLarge, *, is_upload: bool
    ) -> None:
        self._receive = receive
        self._left = limit
        self._too_large = too_large
        self._is_upload = is_upload
        self._deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        self._more = True
        self.refusal: GatewayError | None = None

    async def receive(self) -> Message:
        """Receive the next part. Raises BodyTooLarge, BodyTooSlow."""
        if not self._more:
            return await self._receive()
        if self._is_upload:
            self._deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            late = "stopped for" if self._is_upload else "was not complete within"
            raise self._refuse(BodyTooSlow(f"the body {late} {BODY_TIMEOUT_S:g} s")) from None
        self._left -= len(message.get("body", b""))
        self._more = bool(message.get("more_body"))
        if self._left < 0:
            raise self._refuse(self._too_large)
        return message

    def _refuse(self, refusal: GatewayError) -> GatewayError:
        self.refusal = refusal
        return refusal
