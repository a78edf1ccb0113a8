"""A WebSocket connection of the server: its end is counted, and it can be cut off."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from speechfleet.gateway.connection import ABORT, abort


class SocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which reports its end and lets the application cut it off."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.when_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.when_lost is not None:
            self.when_lost()
            self.when_lost = None

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if (scope := getattr(self, "scope", None)) is not None:  # a valid handshake
            scope["extensions"][ABORT] = {"call": functools.partial(abort, self.transport)}
