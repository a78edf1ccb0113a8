"""Admission of WebSockets, and the context that each is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket

from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.gateway.access import CALLER, Caller
from speechfleet.gateway.context import Gateway
from speechfleet.gateway.error_responses import error_response
from speechfleet.gateway.offered_models import OfferedModels
from speechfleet.gateway.sockets.json_socket import POLICY, TRY_LATER, JsonSocket, SocketLeft
from speechfleet.gateway.subprotocols import chosen_subprotocol
from speechfleet.settings import Settings


@dataclass(frozen=True)
class SocketContext:
    """The gateway and the caller of a WebSocket, and the fleet as far as the caller may see it."""

    gateway: Gateway
    caller: Caller
    client: AsyncClient

    @classmethod
    async def of(cls, websocket: WebSocket) -> SocketContext:
        """Return the context of a handshake. Raises FleetUnavailable."""
        gateway: Gateway = websocket.app.state.gateway
        caller: Caller = websocket.scope.get(CALLER) or Caller(gateway.settings.namespace)
        return cls(gateway, caller, await gateway.within(caller.namespace))

    @property
    def settings(self) -> Settings:
        """The settings of the gateway."""
        return self.gateway.settings

    async def models(self) -> OfferedModels:
        """Return the models that live workers offer. Raises FleetUnavailable."""
        return await self.gateway.models.get(self.client)

    def stream(self) -> AbstractContextManager[None]:
        """Hold one of the streams that the caller's key may have open. Raises TooManyStreams."""
        return self.gateway.streams.stream(self.caller.key)


async def admit(
    websocket: WebSocket,
    serve: Callable[[SocketContext, JsonSocket], Awaitable[None]],
    error_message: Callable[[SpeechFleetError], dict[str, Any]],
) -> None:
    """Accept a WebSocket and serve it; where it cannot be opened now, answer with the error.

    ``error_message``: makes the message of an error, once the socket is open.
    """
    socket = None
    try:
        context = await SocketContext.of(websocket)
        with context.stream():
            await websocket.accept(chosen_subprotocol(websocket.scope))
            socket = JsonSocket(websocket, context.settings.gateway_slow)
            await serve(context, socket)
    except SocketLeft:
        return
    except SpeechFleetError as error:
        if socket is None:
            await websocket.send_denial_response(error_response(error))
            return
        with suppress(SocketLeft):
            await socket.send(error_message(error))
        await socket.close(TRY_LATER if error.retryable else POLICY)
