"""uvicorn, and what may be bound."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import struct
import sys
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from speechfleet.errors import MisconfiguredError
from speechfleet.gateway.app import create_app
from speechfleet.gateway.flow import ABORT, BrokenOff
from speechfleet.gateway.security import is_loopback
from speechfleet.settings import Settings

BACKLOG = 2048


def bind(settings: Settings, host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises MisconfiguredError.

    Without API keys anybody who can reach it could spend the providers' money: then it is bound
    to this machine alone.
    """
    if not settings.gateway_keys and not is_loopback(host):
        raise MisconfiguredError(
            f"without API keys the gateway is bound to this machine only, not to {host}: make "
            "one with `speechfleet key NAMESPACE` and set SPEECHFLEET_GATEWAY_KEYS, or use "
            "--host 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise MisconfiguredError(
            f"port {port} of {host} cannot be bound ({error.strerror}): use another --port"
        ) from None
    listening.listen(BACKLOG)
    return listening


class Protocol(HttpToolsProtocol):
    """Lets an answer end its connection at once, with all that is still to be sent."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self._abort}}

    def _abort(self) -> None:
        # Without lingering: the system too lets go of what it holds for this client.
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Server(uvicorn.Server):
    """Tells when it serves, and ends what would never end of itself before it waits."""

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
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


def serve(settings: Settings, listening: socket.socket, ready: Callable[[], object]) -> None:
    """Until SIGINT or SIGTERM; then what runs has the grace time to end, and SystemExit(0)."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=Protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.grace),
    )
    logging.getLogger("uvicorn.error").addFilter(_foreseen)

    def stopping() -> None:
        app.state.gateway.stopping.set()

    server = Server(config, ready, stopping)
    # uvicorn raises the signal again once it has stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    asyncio.run(server.serve([listening]))


def _foreseen(record: logging.LogRecord) -> bool:
    """A broken-off answer is one line, no trace."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, BrokenOff):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args, record.exc_info = f"broken off: {error}", (), None
    return True
