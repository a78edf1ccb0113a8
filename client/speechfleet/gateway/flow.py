"""An answer whose body is sent as it is made, to a client that may leave or stop reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from speechfleet.errors import SpeechFleetError

ABORT = "speechfleet.abort"
"""The extension of the server that ends a connection without sending what is left."""


class BrokenOff(Exception):
    """The answer cannot be completed: the connection is closed, so that nobody takes what was
    sent for all there is."""


class TooSlow(BrokenOff):
    """The client took nothing for too long."""


class Flow(Response):
    """``pieces`` go out one by one; ``held`` is let go when the answer ends, however it does.

    A client that leaves ends it at once; one that takes nothing for ``slow`` seconds is cut
    off. Nothing is read ahead: a slow client holds up nobody but itself.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        held: AsyncExitStack,
        *,
        media_type: str,
        slow: float,
        headers: Mapping[str, str] | None = None,
        status_code: int = 200,
    ) -> None:
        super().__init__(None, status_code, headers, media_type)
        if "content-length" not in (headers or {}):
            del self.headers["content-length"]
        self._pieces = pieces
        self._held = held
        self._slow = slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                leaving.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)
        error = None if sending.cancelled() else sending.exception()
        if isinstance(error, TooSlow) and ABORT in scope.get("extensions", {}):
            scope["extensions"][ABORT]["call"]()
        if error is not None:
            raise error

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        try:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    async with asyncio.timeout(self._slow):
                        await send(
                            {"type": "http.response.body", "body": piece, "more_body": True}
                        )
        except TimeoutError:
            raise TooSlow(f"the client took nothing for {self._slow:g} s") from None
        except SpeechFleetError as error:
            raise BrokenOff(f"{error.code}: {error.message}") from error
        await send({"type": "http.response.body", "body": b""})


async def left(receive: Receive) -> None:
    """Returns once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
