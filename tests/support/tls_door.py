"""A TLS server in front of a plain one, on threads of its own."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

PIECE_BYTES = 65_536
TLS_HANDSHAKE = b"\x16"
"""The first byte of every TLS connection, and of no command to Redis."""


class TlsDoor:
    """Passes on what comes by TLS, and, with ``plain_too``, what comes without.

    ``context`` is that of connections that come from now on.
    """

    def __init__(self, target_port: int, context: ssl.SSLContext, *, plain_too: bool) -> None:
        self.context = context
        self._target_port = target_port
        self._plain_too = plain_too
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.encrypted = 0
        """Connections by TLS so far."""
        self._inner: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="tls door")]
        self._threads[0].start()

    def cut(self) -> None:
        """End all connections there are."""
        for inner in list(self._inner):
            with suppress(OSError):
                inner.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listening.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError):  # of a handshake that fails, too
            outer: socket.socket = stack.enter_context(plain)
            first = outer.recv(1, socket.MSG_PEEK)
            if first == TLS_HANDSHAKE:
                outer = stack.enter_context(self.context.wrap_socket(plain, server_side=True))
                self.encrypted += 1
            elif not self._plain_too:
                return
            inner = socket.create_connection(("127.0.0.1", self._target_port))
            stack.enter_context(inner)
            self._inner.add(inner)
            stack.callback(self._inner.discard, inner)
            _pass(outer, inner)


def _pass(outer: socket.socket, inner: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""
    while True:
        held = isinstance(outer, ssl.SSLSocket) and outer.pending()
        for source in [outer] if held else select.select([outer, inner], [], [])[0]:
            data = source.recv(PIECE_BYTES)
            if not data:
                return
            (inner if source is outer else outer).sendall(data)


@contextmanager
def tls_door(
    target_port: int, context: ssl.SSLContext, *, plain_too: bool = False
) -> Iterator[TlsDoor]:
    """Stand in front of the server on this port."""
    door = TlsDoor(target_port, context, plain_too=plain_too)
    try:
        yield door
    finally:
        door.close()
