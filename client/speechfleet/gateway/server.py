"""The HTTP server: uvicorn with our connections, limits and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from speechfleet.errors import MisconfiguredError
from speechfleet.gateway.app import create_app
from speechfleet.gateway.connection import ClientConnection
from speechfleet.gateway.connection_limits import ConnectionLimits, raise_descriptor_limit
from speechfleet.gateway.security import is_loopback
from speechfleet.gateway.sockets.connection import SocketConnection
from speechfleet.gateway.sockets.json_socket import MESSAGE_BYTES
from speechfleet.gateway.streaming_response import BrokenOff
from speechfleet.settings import Settings

log = logging.getLogger("speechfleet.gateway")

ACCEPTED_AT_ONCE = 128
"""Connections that the loop accepts in one step, before the first limit is looked at."""
QUEUE_LENGTH = 1024
"""Connections that may wait to be accepted."""
RECEIVE_BUFFER_BYTES = 64 << 10
SEGMENT_BYTES = 1460
"""Size of a TCP segment, that of Ethernet.

Both values keep the unread bytes of a client low: on loopback the systems would otherwise hold
megabytes before the gateway has looked at a byte.
"""
_OF_WEBSOCKETS = ('%s - "WebSocket', "connection open", "connection closed")
"""Beginnings of uvicorn's own log lines about WebSockets."""
NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def bind(settings: Settings, host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises MisconfiguredError.

    Without API keys anybody who can reach the gateway could spend the providers' money, so then
    it is bound to this machine alone.
    """
    if not settings.has_gateway_keys and not is_loopback(host):
        raise MisconfiguredError(
            f"without API keys the gateway is bound to this machine only, not to {host}: make "
            "one with `speechfleet key NAMESPACE` and set SPEECHFLEET_GATEWAY_KEYS, or with "
            "`speechfleet keys make` and set SPEECHFLEET_GATEWAY_STORED_KEYS=true, or use "
            "--host 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):  # not every system lets it be chosen
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise MisconfiguredError(
            f"port {port} of {host} cannot be bound ({error.strerror}): use another --port, or "
            "with `speechfleet up` another --gateway"
        ) from None
    listening.listen(QUEUE_LENGTH)
    return listening


class Server(uvicorn.Server):
    """Report when it serves, and end the endless answers before waiting for all to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], object],
        stopping: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_on_loop_error)
        await super().startup(sockets)
        for listening in sockets or ():  # asyncio has set the queue to what it accepts at once
            listening.listen(QUEUE_LENGTH)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


def serve(settings: Settings, listening: socket.socket, ready: Callable[[], object]) -> None:
    """Serve until SIGINT or SIGTERM, then give requests the grace time to end.

    Raises SystemExit(0) at the end.
    """
    app = create_app(settings)
    raise_descriptor_limit(settings.gateway_connections)
    limits = ConnectionLimits(
        settings.gateway_connections, settings.gateway_connections_per_address
    )
    config = uvicorn.Config(
        app,
        http=functools.partial(ClientConnection, limits=limits),  # type: ignore[arg-type] # a factory
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=settings.gateway_keep_alive,  # type: ignore[arg-type] # used as seconds
        loop="asyncio",
        ws=SocketConnection,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=list(settings.gateway_proxies),
        timeout_graceful_shutdown=int(settings.grace),
    )
    logging.getLogger("uvicorn.error").addFilter(_shorten_broken_off)

    def stopping() -> None:
        app.state.gateway.stopping.set()

    server = Server(config, ready, stopping)
    # uvicorn raises the signal again once it has stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    asyncio.run(server.serve([listening]))


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no task awaits; a lack of descriptors in one line."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
        log.error("no connection can be accepted for a second: %s", error.strerror)
    else:
        loop.default_exception_handler(context)


def _shorten_broken_off(record: logging.LogRecord) -> bool:
    """Log an answer that broke off in one line, without a trace.

    WebSockets that are opened stand in the access log, without what is in their query.
    """
    if str(record.msg).startswith(_OF_WEBSOCKETS):
        return False
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, BrokenOff):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args, record.exc_info = f"broken off: {error}", (), None
    return True
