"""WebSocket for the wire servers: one connection is one entry of the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import abstractmethod
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from speechfleet_worker.testing.listening import stop_listening
from speechfleet_worker.testing.wire import Call, Dropped, Fault, WireServer

T = TypeVar("T")


class WebSocketServer(WireServer):
    """A protocol over WebSocket. A subclass writes `converse`, which ends with the connection.

    Faults are per connection. Besides the usual ones: ``close_1011`` closes with that code after
    ``after`` bytes; ``close_idle`` closes (1000) as soon as the connection is set up.
    """

    faults = frozenset(
        "status drop_before drop_middle stall slow_first_byte malformed_frame error_frame "
        "early_end giant_frame wrong_rate odd_bytes close_1011 close_idle".split()
    )
    path: ClassVar[str]
    model_in_query: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._server: Server | None = None
        self.handshakes = 0
        self._begun: dict[ServerConnection, Call] = {}

    @abstractmethod
    async def converse(self, connection: ServerConnection, call: Call) -> None:
        """Serve one connection. Raises Dropped, ConnectionClosed."""

    @abstractmethod
    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        """Make the body of a refused handshake."""

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{self.path}"

    async def start(self) -> None:
        self._server = await serve(
            self._session,
            "127.0.0.1",
            self.port,
            process_request=self._handshake,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            backlog=1024,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        for connection in list(server.connections):
            connection.transport.abort()
        await stop_listening(server)
        await server.wait_closed()

    async def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        path, _, query = request.path.partition("?")
        if path != self.path or (self.model_in_query and "model=" not in query):
            return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        call = self.begin({"query": query, "session": {}, "responses": []}, "", key)
        if self.keys and key not in self.keys:
            call.fault = Fault("status", 401, "invalid_api_key", "unknown key")
        if not call.hit_by("status", "drop_before"):
            self._begun[connection] = call
            self.handshakes += 1
            return None
        assert call.fault is not None
        with call:
            if call.hit_by("drop_before"):
                connection.transport.abort()
            body = json.dumps(self.error_body(call.fault)) + "\n"
            response = connection.respond(HTTPStatus(call.fault.status), body)
            if call.fault.retry_after:
                response.headers["Retry-After"] = call.fault.retry_after
        return response

    async def while_connected(self, connection: ServerConnection, speaking: Awaitable[T]) -> T:
        """Await ``speaking``; cancel it and raise ConnectionClosed once the client has left."""
        task = asyncio.ensure_future(speaking)
        left = asyncio.ensure_future(connection.wait_closed())
        try:
            await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ConnectionClosed(None, None)
            return task.result()
        finally:
            for each in (task, left):
                each.cancel()
            await asyncio.gather(task, left, return_exceptions=True)

    async def _session(self, connection: ServerConnection) -> None:
        call = self._begun.pop(connection)
        with contextlib.suppress(Dropped, ConnectionClosed), call:
            try:
                await self.converse(connection, call)
            except Dropped:
                connection.transport.abort()
                raise
