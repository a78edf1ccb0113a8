"""HTTP/1.1 for the wire servers, on bare sockets: a test says exactly when a connection is cut,
reset or silent, and sees at once when the client closes its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from speechfleet_worker.testing.listening import stop_listening
from speechfleet_worker.testing.wire import Call, Dropped, Fault, WireServer


@dataclass(frozen=True)
class Request:
    """Holds an HTTP request. ``headers`` have lower-case names; ``path`` has no query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Read the body as an object; {} where it is none."""
        with contextlib.suppress(ValueError):
            value = json.loads(self.body)
            if isinstance(value, dict):
                return value
        return {}

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class Reply:
    """The answer to one request: `whole`, or `start`, any number of writes, and `finish`."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.complete = False

    async def whole(
        self,
        body: bytes | Mapping[str, Any],
        status: int = 200,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._head(status, {"content-type": content_type, **(headers or {})}, len(data))
        self._writer.write(data)
        await self._writer.drain()
        self.complete = True

    def start(
        self, content_type: str, headers: Mapping[str, str] | None = None, status: int = 200
    ) -> None:
        """Send the head of a chunked body."""
        self._head(status, {"content-type": content_type, **(headers or {})}, None)

    async def write(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def event(self, data: Mapping[str, Any] | str, end: str = "\n\n") -> None:
        """Send one server-sent event of a ``data:`` line."""
        text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
        await self.write(f"data: {text}{end}".encode())

    async def finish(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        self.complete = True

    def _head(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        lines = [f"HTTP/1.1 {status} -", framing, *(f"{k}: {v}" for k, v in headers.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


class _Connection(asyncio.StreamReaderProtocol):
    """Tells that the peer is gone, which asyncio's own only does to somebody who reads."""

    def __init__(self, serve: Callable[[_Connection], Any], known: set[_Connection]) -> None:
        self.reader = asyncio.StreamReader(limit=1 << 20)
        super().__init__(self.reader, self._serve)
        self.handler: asyncio.Future[None] | None = None
        self._handle = serve
        self._known = known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Known from here on, so that a server that stops waits also for those just accepted.
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._known.add(self)
        super().connection_made(transport)

    async def _serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        await self._handle(self)

    def abort(self) -> None:
        self.transport.abort()

    def reset(self) -> None:
        """Close with RST, which without lingering for nought seconds would be a FIN."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def eof_received(self) -> bool:
        super().eof_received()
        self._gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._gone()

    def _gone(self) -> None:
        if self.handler is not None:
            self.handler.cancel()


class HttpServer(WireServer):
    """HTTP/1.1 with keep-alive. A subclass writes `respond`, which is cancelled if the client
    closes its connection, and has `refused` deal with the faults that precede any audio."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @abstractmethod
    async def respond(self, request: Request, reply: Reply) -> None:
        """Answer one request. Raises Dropped to reset the connection."""

    @abstractmethod
    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        """Make the provider's error body."""

    async def refused(self, call: Call, reply: Reply) -> bool:
        """End the call before any audio if its fault says so: by a wrong key, or by its fault."""
        fault = call.fault
        if self.keys and call.key not in self.keys:
            fault = Fault("status", status=401, code="invalid_api_key", message="unknown key")
            call.fault = fault
        if fault is None:
            return False
        if fault.kind == "drop_before":
            raise Dropped
        if fault.kind == "status":
            headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
            await reply.whole(self.error_body(fault), fault.status, headers=headers)
        elif fault.kind == "json_error_200":
            await reply.whole(self.error_body(fault))
        elif fault.kind == "empty_body":
            await reply.whole(b"", content_type="application/octet-stream")
        else:
            return False
        return True

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._serve, self.connections),
            "127.0.0.1",
            self.port,
            backlog=1024,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        await stop_listening(server)
        for connection in self.connections:
            connection.abort()
        await self.until(lambda _: not self.connections)
        await server.wait_closed()

    async def _serve(self, connection: _Connection) -> None:
        try:
            while request := await _read(connection.reader):
                reply = Reply(connection.writer)
                connection.handler = asyncio.ensure_future(self.respond(request, reply))
                await asyncio.wait([connection.handler])
                if connection.handler.cancelled():
                    break
                error = connection.handler.exception()
                if isinstance(error, (Dropped, ConnectionError)):
                    connection.reset()
                    break
                if error is not None:
                    raise error
                if not reply.complete:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left between two requests
        finally:
            connection.writer.close()
            self.connections.discard(connection)
            self._notify()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Read the next request of a connection; None at its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif length := int(headers.get("content-length", 0)):
        body = await reader.readexactly(length)
    parts = urlsplit(target)
    return Request(method, parts.path, dict(parse_qsl(parts.query)), headers, body)
