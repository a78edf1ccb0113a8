"""Messages of a WebSocket: time-outs, and clients that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.websockets import WebSocket

from speechfleet.gateway.connection import ABORT
from speechfleet.gateway.sockets.json_socket import (
    FRAME_BYTES,
    JsonSocket,
    MessageRefused,
    NoMessage,
    SocketLeft,
)


class Client:
    """The other side of a socket. ``reads``: it takes what is sent."""

    def __init__(self, *, reads: bool = True) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.messages.put_nowait({"type": "websocket.connect"})
        self.was_cut_off = False
        self._reads = reads

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.send" and not self._reads:
            await asyncio.Event().wait()
        self.sent.append(message)

    def _cut(self) -> None:
        self.was_cut_off = True

    async def socket(self) -> JsonSocket:
        scope = {"type": "websocket", "headers": [], "extensions": {ABORT: {"call": self._cut}}}
        websocket = WebSocket(scope, self.messages.get, self._send)
        await websocket.accept()
        return JsonSocket(websocket, slow=0.02)


async def test_audio_goes_in_frames_of_a_bounded_size() -> None:
    client = Client()
    await (await client.socket()).send_audio(bytes(2 * FRAME_BYTES + 2))
    sizes = [len(message["bytes"]) for message in client.sent[1:]]
    assert sizes == [FRAME_BYTES, FRAME_BYTES, 2]


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    client = Client(reads=False)
    with pytest.raises(SocketLeft, match="read nothing for"):
        await (await client.socket()).send({"type": "audio.done"})
    assert client.was_cut_off


async def test_silence_is_an_error_of_its_own() -> None:
    with pytest.raises(NoMessage, match=r"0\.01 s"):
        await (await Client().socket()).receive(0.01)


async def test_a_client_that_leaves_ends_the_reading() -> None:
    client = Client()
    client.messages.put_nowait({"type": "websocket.disconnect", "code": 1001})
    with pytest.raises(SocketLeft):
        await (await client.socket()).receive(1)


async def test_binary_messages_are_refused() -> None:
    client = Client()
    client.messages.put_nowait({"type": "websocket.receive", "bytes": b"x"})
    with pytest.raises(MessageRefused, match="binary"):
        await (await client.socket()).receive(1)
