"""Stop listening without losing a connection that was accepted at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from socket import socket
from typing import Protocol

STEPS_OF_ACCEPTING = 5
"""Turns of the loop after which an accepted connection has met its callback."""


class Listening(Protocol):
    """A server of asyncio, or of websockets."""

    @property
    def sockets(self) -> Iterable[socket]:
        """Return the sockets that it listens on."""

    def close(self) -> None:
        """Stop listening."""


async def stop_listening(server: Listening) -> None:
    """Close a server; connections that it accepted just before get to their callback.

    asyncio's own loop drops the transport of a connection that was accepted when its server
    closes (up to Python 3.11 an assertion fails), and nobody closes that.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.SelectorEventLoop):
        for listener in server.sockets:
            loop.remove_reader(listener.fileno())
        for _ in range(STEPS_OF_ACCEPTING):
            await asyncio.sleep(0)
    server.close()
