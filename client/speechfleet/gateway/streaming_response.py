"""An answer whose body is sent while it is made, to a client that may leave or stop reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from speechfleet.errors import SpeechFleetError
from speechfleet.gateway.connection import ABORT
from speechfleet.gateway.routing import is_head


class BrokenOff(Exception):
    """The answer cannot be completed.

    The connection is closed without an end of the body, so that no client takes the part for
    the whole.
    """


class TooSlow(BrokenOff):
    """The client read nothing for too long."""


class StreamingAudioResponse(Response):
    """Send pieces one by one, and release the resources when the answer ends.

    A client that leaves ends the answer at once. A client that reads nothing for ``slow``
    seconds is cut off. Nothing is read ahead, so a slow client holds up nobody else.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        resources: AsyncExitStack,
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
        self._resources = resources
        self._slow = slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_head(scope):
            await self._send_head(send)
            return
        async with self._resources:
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(disconnected(receive))
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

    async def _send_head(self, send: Send) -> None:
        async with self._resources:
            await self._pieces.aclose()
        await self._send_start(send)
        await send({"type": "http.response.body", "body": b""})

    async def _send_start(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})

    async def _send(self, send: Send) -> None:
        await self._send_start(send)
        try:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    async with asyncio.timeout(self._slow):
                        await send(
                            {"type": "http.response.body", "body": piece, "more_body": True}
                        )
        except TimeoutError:
            raise TooSlow(f"the client read nothing for {self._slow:g} s") from None
        except SpeechFleetError as error:
            raise BrokenOff(f"{error.code}: {error.message}") from error
        await send({"type": "http.response.body", "body": b""})


async def disconnected(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def attachment(name: str) -> dict[str, str]:
    """Return the header by which a browser saves the answer under this name."""
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
