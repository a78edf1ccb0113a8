"""Limits: of bodies, before anything is parsed, and of streams at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechfleet.gateway.failures import (
    BodyTooLarge,
    BodyTooSlow,
    GatewayError,
    TooManyStreams,
    answer,
)

BODY_WITHIN = 30.0
"""Seconds in which a body must be there."""


class BodyLimit:
    """Refuses a body that is too large, or too slow, without holding it."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "0")
        if not told.isdigit() or int(told) > self._limit:
            await answer(self._too_large())(scope, receive, send)
            return
        body = _Body(receive, self._limit, self._too_large())

        async def unless_refused(message: Message) -> None:
            # What the application makes of a broken body is not what is wrong with it.
            if body.refusal is None:
                await send(message)

        await self._app(scope, body.receive, unless_refused)
        if body.refusal is not None:
            refusal = answer(body.refusal)
            refusal.headers["connection"] = "close"  # what is still to come may be without end
            await refusal(scope, receive, send)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has more than {self._limit:,} bytes (SPEECHFLEET_GATEWAY_BODY)"
        )


class _Body:
    """A request's body as it comes in, counted."""

    def __init__(self, receive: Receive, limit: int, too_large: BodyTooLarge) -> None:
        self._receive = receive
        self._left = limit
        self._too_large = too_large
        self._deadline = asyncio.get_running_loop().time() + BODY_WITHIN
        self._more = True
        self.refusal: GatewayError | None = None

    async def receive(self) -> Message:
        if not self._more:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise self._refuse(BodyTooSlow("the body did not come in time")) from None
        self._left -= len(message.get("body", b""))
        self._more = bool(message.get("more_body"))
        if self._left < 0:
            raise self._refuse(self._too_large)
        return message

    def _refuse(self, refusal: GatewayError) -> GatewayError:
        self.refusal = refusal
        return refusal


class Streams:
    """How many streams each key has open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._open.total()

    @contextmanager
    def one(self, key: str) -> Iterator[None]:
        """Raises TooManyStreams."""
        if self._open[key] >= self._limit:
            raise TooManyStreams(
                f"{self._limit} streams are open already (SPEECHFLEET_GATEWAY_STREAMS): "
                "wait for one to end"
            )
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            self._open += Counter()  # without the keys that have none
