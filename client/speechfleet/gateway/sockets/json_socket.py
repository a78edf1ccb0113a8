"""Messages of one WebSocket: JSON in, JSON and bytes out, with time-outs and sizes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from speechfleet.gateway.connection import ABORT
from speechfleet.gateway.errors import GatewayError

MESSAGE_BYTES = 4 << 20
"""The largest message; the connection of a client that sends a larger one is closed (1009)."""
TEXT_BYTES = 128 << 10
"""The largest message with a text."""
FRAME_BYTES = 64 << 10
"""Bytes of audio in one message."""
FILE_FRAME_BYTES = 960 << 10
"""Bytes of a file in one message: many clients take at most 1 MiB."""
POLICY, TRY_LATER, INTERNAL = 1008, 1013, 1011
"""Codes of a close."""


class SocketLeft(Exception):
    """The client is gone, or was cut off."""


class MessageRefused(GatewayError):
    """A message of a WebSocket has no meaning here."""

    code = "invalid_message"


class MessageTooLarge(GatewayError):
    """A message of a WebSocket has more bytes than it may have."""

    code = "message_too_large"


class NoMessage(GatewayError):
    """The client sent nothing for too long."""

    code = "idle_timeout"


class JsonSocket:
    """Send and receive messages; a client that reads nothing for ``slow`` seconds is cut off."""

    def __init__(self, websocket: WebSocket, slow: float) -> None:
        self._websocket = websocket
        self._slow = slow

    async def receive(self, within: float | None = None) -> dict[str, Any]:
        """Return the next message.

        Raises SocketLeft, NoMessage after ``within`` seconds, MessageRefused, MessageTooLarge.
        """
        try:
            async with asyncio.timeout(within):
                message = await self._websocket.receive()
        except TimeoutError:
            raise NoMessage(f"no message came for {within:g} s") from None
        except WebSocketDisconnect:
            raise SocketLeft from None
        if message["type"] != "websocket.receive":
            raise SocketLeft
        text = message.get("text")
        if text is None:
            raise MessageRefused("messages are JSON in text frames; this one is binary")
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            raise MessageRefused("the message is no JSON") from None
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise MessageRefused("a message is an object with a 'type'")
        if event["type"] != "session.config" and len(text) > TEXT_BYTES:
            raise MessageTooLarge(f"a message has at most {TEXT_BYTES:,} characters")
        return event

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send one message. Raises SocketLeft."""
        await self._send({"text": json.dumps(event, separators=(",", ":"))})

    async def send_audio(self, data: bytes) -> None:
        """Send audio in binary frames. Raises SocketLeft."""
        for at in range(0, len(data), FRAME_BYTES):
            await self._send({"bytes": data[at : at + FRAME_BYTES]})

    async def send_file(self, data: bytes) -> None:
        """Send a file, in one binary frame unless it is long. Raises SocketLeft."""
        for at in range(0, len(data), FILE_FRAME_BYTES):
            await self._send({"bytes": data[at : at + FILE_FRAME_BYTES]})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket; idempotent, without effect on one that is gone."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(self._slow):
                    await self._websocket.close(code, reason)
            except (TimeoutError, RuntimeError, OSError, WebSocketDisconnect):
                self._abort()

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._slow):
                await self._websocket.send({"type": "websocket.send", **message})
        except TimeoutError:
            self._abort()
            raise SocketLeft(f"the client read nothing for {self._slow:g} s") from None
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise SocketLeft from None

    def _abort(self) -> None:
        if (extension := self._websocket.scope.get("extensions", {}).get(ABORT)) is not None:
            extension["call"]()
