"""The connection of one HTTP client: limits on its request heads, time-outs, and its end."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from speechfleet.gateway.connection_limits import ConnectionLimits
from speechfleet.gateway.error_responses import error_body

log = logging.getLogger("speechfleet.gateway")

ABORT = "speechfleet.abort"
"""The ASGI extension that ends a connection without sending what is left."""

HEAD_BYTES = 64 << 10
"""The largest request head: the request line and all header fields."""
HEAD_FIELDS = 100
"""The largest number of header fields of a request."""
FEED_BYTES = 16 << 10
"""Bytes given to the parser at once, so that the head is measured while it is parsed."""
HEAD_TIMEOUT_S = 20.0
"""Seconds in which a request head must be complete, from its first byte or the connect."""
DRAIN_TIMEOUT_S = 10.0
"""Seconds in which the rest of a body must arrive once its request has been answered."""
FLUSH_TIMEOUT_S = 30.0
"""Seconds in which a client must take the end of the last answer."""
LINGER_S = 2.0
"""Seconds for which a refused client may read the refusal before the connection is reset."""
LINGER_BYTES = 64 << 10
"""Bytes that a refused client may send meanwhile, which are dropped."""
PROBE_INTERVALS_S = (0.5, 0.5, 5.0)
"""Seconds before each interim response to a client that shut its sending side."""
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


class Timer:
    """Holds the pending call of an event loop; the next one replaces it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Tell whether a call is pending."""
        return self._handle is not None

    def start(self, seconds: float, call: Callable[[], None]) -> None:
        """Call after so many seconds, instead of what was pending."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._run, call)

    def stop(self) -> None:
        """Drop the pending call; idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self, call: Callable[[], None]) -> None:
        self._handle = None
        call()


class ClientConnection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 connection, with bounds on what a client may send and hold.

    - A head above `HEAD_BYTES` or `HEAD_FIELDS` is answered with 431.
    - A head that is not complete within `HEAD_TIMEOUT_S` ends the connection.
    - A client that shuts its sending side still gets its answer.
    - A client of HTTP/1.0 gets no chunks: the end of the connection ends the body.
    """

    def __init__(self, *arguments: Any, limits: ConnectionLimits, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._limits = limits
        self._timer = Timer(self.loop)
        self._is_in_head = False
        self._head_size = 0
        self._size_between_bodies = 0
        self._has_whole_body = True
        self._is_discarding = False
        self._probes = 0

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is under way; an incomplete head counts as none."""
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def evict(self) -> None:
        """End the connection at once, to make room for another."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's
        super().connection_made(transport)
        if self._limits.admit(self, self._address):
            self._timer.start(HEAD_TIMEOUT_S, self._head_is_late)
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", _CROWDED)
            self.transport.close()  # a crowd that lingers would use up the descriptors

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._limits.remove(self)
        self._timer.stop()
        self._unset_keepalive_if_required()
        # Without these the connection frees its memory at once, not at the next collection.
        self.pipeline.clear()
        self.scope = self.headers = None  # type: ignore[assignment] # as uvicorn begins

    def data_received(self, data: bytes) -> None:
        if self._is_discarding:
            self._head_size += len(data)
            if self._head_size > HEAD_BYTES + LINGER_BYTES:
                self.transport.abort()
            return
        if self.is_idle and not self._timer.is_running:
            self._timer.start(HEAD_TIMEOUT_S, self._head_is_late)
        for at in range(0, len(data), FEED_BYTES):
            part = data[at : at + FEED_BYTES]
            super().data_received(part)
            is_http = self.transport.get_protocol() is self  # else a WebSocket from here on
            if self._is_discarding or self.transport.is_closing() or not is_http:
                return
            if not self._is_bounded(len(part)):
                return

    def _is_bounded(self, size: int) -> bool:
        """Count bytes of a head or of trailers; refuse the client where there are too many."""
        if self._is_in_head:
            self._head_size += size
            if self._head_size > HEAD_BYTES or len(self.headers) > HEAD_FIELDS:
                self._refuse_head()
                return False
        elif not self._has_whole_body:
            self._size_between_bodies += size
            if self._size_between_bodies > HEAD_BYTES:
                log.warning("refused %s: too large trailers", self._address)
                self.transport.abort()
                return False
        return True

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to a WebSocket; it counts as this one until its end."""
        self._timer.stop()
        super().handle_websocket_upgrade()
        lost = functools.partial(self._limits.remove, self)
        self.transport.get_protocol().when_lost = lost  # type: ignore[attr-defined] # ours

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn always closes
        """Keep the connection of a client that only shut its sending side.

        A client that announced no further request is taken at its word. Any other one may be
        gone: interim responses find out, because a closed client resets the connection.
        """
        if self.is_idle or self._is_discarding or not self._has_whole_body:
            return False
        if self.cycle.keep_alive:
            if self.cycle.response_started:
                return False
            self.cycle.keep_alive = False
            self._timer.start(PROBE_INTERVALS_S[0], self._probe)
        return True

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._has_whole_body = False
        self._head_size = self._size_between_bodies = 0
        # It refers to the transport, not to this object, which refers to the scope.
        self.scope["extensions"] = {ABORT: {"call": functools.partial(abort, self.transport)}}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # nobody reads trailers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._is_discarding:
            return
        self._timer.stop()
        if len(self.headers) > HEAD_FIELDS:
            self._refuse_head()
            return
        self._limits.mark_active(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._size_between_bodies = 0
        if not self._is_discarding:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_discarding:
            return
        super().on_message_complete()
        self._has_whole_body = True
        if self.is_idle:
            self._timer.stop()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, "malformed_request", msg)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._timer.start(FLUSH_TIMEOUT_S, self.transport.abort)
            return
        if self.is_idle:
            self._limits.mark_idle(self)
            if not self._has_whole_body:
                self._timer.start(DRAIN_TIMEOUT_S, self.transport.abort)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = functools.partial(_without_chunks, app, cycle)
        super()._start_asgi_task(cycle, app)

    def _refuse_head(self) -> None:
        message = (
            f"the request's head is larger than {HEAD_BYTES >> 10} KB or {HEAD_FIELDS} fields"
        )
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self._refuse(status, "request_head_too_large", message)

    def _head_is_late(self) -> None:
        if self._is_in_head:
            message = f"the request's head was not complete within {HEAD_TIMEOUT_S:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_head_too_slow", message)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        """Answer without the application, discard what still arrives, then reset."""
        log.warning("refused %s: %s", self._address, message)
        self._is_discarding = True
        if self.pipeline or not _is_answer_due(self.cycle):
            self.transport.abort()
            return
        _end_request(self.cycle)
        self.transport.write(_refusal(status, code, message))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer.start(LINGER_S, self.transport.abort)

    def _probe(self) -> None:
        """Find out whether a client that sends no more still reads."""
        if self.transport.is_closing() or self.cycle.response_started:
            return
        self.transport.write(INTERIM)
        self._probes += 1
        wait = PROBE_INTERVALS_S[min(self._probes, len(PROBE_INTERVALS_S) - 1)]
        self._timer.start(wait, self._probe)


_CROWDED = (
    "the gateway has as many connections as it may have (SPEECHFLEET_GATEWAY_CONNECTIONS, "
    "SPEECHFLEET_GATEWAY_CONNECTIONS_PER_ADDRESS)"
)


def _refusal(status: HTTPStatus, code: str, message: str) -> bytes:
    body = json.dumps(error_body(message, status, code=code)).encode()
    head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    return STATUS_LINE[status] + head % len(body) + body


def _is_answer_due(cycle: RequestResponseCycle | None) -> bool:
    """Tell whether what is sent next is taken for the answer to the request that is refused.

    Else it would stand between the bytes of another answer, or be taken for another one.
    """
    if cycle is None:
        return True
    if cycle.more_body:  # this body is what is refused
        return not cycle.response_started
    return cycle.response_complete


def _end_request(cycle: RequestResponseCycle | None) -> None:
    """Tell the application, where it reads a body, that its client is gone; drop its answer."""
    if cycle is not None and cycle.more_body:
        cycle.disconnected = True
        cycle.message_event.set()
        cycle.flow.resume_reading()


def abort(transport: asyncio.Transport) -> None:
    """Reset the connection; the system too drops what it holds for this client."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _without_chunks(
    app: ASGIApp, cycle: RequestResponseCycle, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run the application for a client of HTTP/1.0 (RFC 9112, 6.1: no chunked coding).

    A body whose length is not known ends with the connection; a body that breaks off ends with
    a reset, so that nobody takes it for the whole.
    """
    is_delimited_by_close = False

    async def send_plain(message: Message) -> None:
        nonlocal is_delimited_by_close
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            is_delimited_by_close = b"content-length" not in names and scope["method"] != "HEAD"
            if is_delimited_by_close:
                _write_head(cycle, message)
                return
        if is_delimited_by_close:
            await _write_body(cycle, message)
        else:
            await send(message)

    try:
        await app(scope, receive, send_plain)
    except BaseException:
        if is_delimited_by_close:
            abort(cycle.transport)
        raise


def _write_head(cycle: RequestResponseCycle, start: Message) -> None:
    fields = [*cycle.default_headers, *start["headers"], (b"connection", b"close")]
    lines = [name + b": " + value + b"\r\n" for name, value in fields]
    cycle.response_started = True
    if not cycle.disconnected:
        cycle.transport.write(STATUS_LINE[start["status"]] + b"".join(lines) + b"\r\n")


async def _write_body(cycle: RequestResponseCycle, message: Message) -> None:
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.transport.write(message.get("body", b""))
    if not message.get("more_body", False):
        cycle.response_complete = True
        cycle.message_event.set()
        cycle.transport.close()
        cycle.on_response()
