"""Know the event loop and the process that open connections belong to."""

from __future__ import annotations

import asyncio
import os

from speechfleet.errors import InvalidRequest

_ABANDONED: list[object] = []
"""Connections that a parent process opened.

They are kept, because closing them here would reach the parent's event loop: both processes share
the descriptor by which that loop waits.
"""


class LoopOwner:
    """The one event loop that may use some connections.

    A loop that was closed, or that runs in the parent of this process, gives them up to the
    next loop, which has to open its own.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()
        self._closed = False

    def leave(self) -> bool:
        """Refuse every further use; True if the connections are the running loop's to close."""
        self._closed = True
        return self._loop in (None, asyncio.get_running_loop())

    def moved(self, *connections: object) -> bool:
        """Take over for the running loop; True if ``connections`` are another loop's now.

        Raises InvalidRequest when the client is closed, or another loop is still using it.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise InvalidRequest(
                "this client is closed: open another one, and use its jobs while it is open",
                code="client_closed",
            )
        if loop is self._loop:
            return False
        before, self._loop = self._loop, loop
        if before is None:
            self._process = os.getpid()
            return False
        if self._process != os.getpid():
            _ABANDONED.append((before, connections))
            self._process = os.getpid()
        elif not before.is_closed():
            self._loop = before
            raise InvalidRequest(
                "this client is in use on another event loop: open one client for each loop",
                code="wrong_loop",
            )
        return True
