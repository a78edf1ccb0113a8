"""Errors of WebSockets have the form of their protocol, whenever they occur."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.websockets import WebSocket

from speechfleet.errors import FleetUnavailable, SpeechFleetError
from speechfleet.gateway.sockets import realtime_route, text_route
from speechfleet.gateway.sockets.admission import SocketContext, admit
from speechfleet.gateway.sockets.error_messages import realtime_error, text_error
from speechfleet.gateway.sockets.json_socket import TRY_LATER, JsonSocket

ABOUT = {"code": "fleet_unavailable", "message": "it is away", "retryable": True}


class Client:
    """The other side of a socket, which says nothing."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def websocket(self) -> WebSocket:
        messages: asyncio.Queue[Any] = asyncio.Queue()
        messages.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "headers": [], "subprotocols": []}
        return WebSocket(scope, messages.get, self.send)


async def serve(context: SocketContext, socket: JsonSocket) -> None:
    raise FleetUnavailable("it is away")


async def away() -> Any:
    raise FleetUnavailable("it is away")


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that can be reached until the socket is open."""
    settings = SimpleNamespace(gateway_slow=1.0, default_model="a/b", gateway_aliases={})
    context = SimpleNamespace(stream=nullcontext, settings=settings, models=away)

    async def of(websocket: WebSocket) -> Any:
        return context

    monkeypatch.setattr(SocketContext, "of", of)


@pytest.mark.parametrize("form", [text_error, realtime_error], ids=["text", "realtime"])
async def test_an_error_before_the_first_message_is_no_exception(
    form: Callable[[SpeechFleetError], dict[str, Any]],
) -> None:
    client = Client()
    await admit(client.websocket(), serve, form)
    [_, error, closed] = client.sent
    message = json.loads(error["text"])
    assert (message["type"], closed["code"]) == ("error", TRY_LATER)
    if form is text_error:
        assert message == {"type": "error", **ABOUT}
    else:
        assert message["event_id"].startswith("event_")
        assert {name: message["error"][name] for name in ABOUT} == ABOUT
        assert message["error"]["event_id"] is None


async def test_a_realtime_socket_that_finds_no_models_says_so_in_its_form() -> None:
    client = Client()
    await realtime_route.realtime(client.websocket())
    message = json.loads(client.sent[1]["text"])
    assert message["error"]["code"] == "fleet_unavailable"


async def test_a_socket_for_text_that_breaks_says_so_in_its_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(conversation: object) -> None:
        await away()

    monkeypatch.setattr(text_route.TextConversation, "run", run)
    client = Client()
    await text_route.speak_text(client.websocket())
    assert json.loads(client.sent[1]["text"]) == {"type": "error", **ABOUT}
