"""Gather the replies of an open connection, without a task or a stream in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import InvalidResponse

_INCOMPLETE = object()


class ReplyReader(asyncio.Protocol):
    """Sends batches of commands on an open connection, and gathers their replies.

    The transport of a connection that redis-py has opened is taken over from its streams, which
    execute forty Python calls more for each reply. redis-py closes it.

    ``answered`` is called with the replies to each batch, in the batches' order; errors of
    single commands are among them. ``lost`` is called once, when the connection ends.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        answered: Callable[[list[Any]], object],
        lost: Callable[[Exception], object],
    ) -> None:
        writer = connection._writer  # noqa: SLF001 # redis-py has no other way to its transport
        assert writer is not None
        self._transport = writer.transport
        self._streams = self._transport.get_protocol()
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._answered = answered
        self._lost = lost
        self._expected: deque[int] = deque()
        """Commands of each batch that is not answered yet."""
        self._replies: list[Any] = []
        self._clock = asyncio.get_running_loop().time
        self.is_open = True
        self.silent_since = 0.0
        """When the server last sent something, or was first asked after that; the loop's clock."""
        self._transport.set_protocol(self)

    @property
    def is_busy(self) -> bool:
        """Tell whether a batch is not answered yet."""
        return bool(self._expected)

    def send(self, commands: Sequence[bytes]) -> None:
        """Write a batch of commands."""
        if not self._expected:
            self.silent_since = self._clock()
        self._expected.append(len(commands))
        self._transport.writelines(commands)

    def fail(self, error: Exception) -> None:
        """Close the connection because of an error."""
        self._transport.abort()
        self._end(error)

    def forget(self) -> None:
        """Call nobody any more."""
        self.is_open = False
        self._expected.clear()

    def data_received(self, data: bytes) -> None:
        """Take what the server sent, as asyncio calls it."""
        self.silent_since = self._clock()
        try:
            self._read(data)
        except Exception as error:  # noqa: BLE001 # whoever waits gets it
            self.fail(error)

    def _read(self, data: bytes) -> None:
        self._parser.feed(data)
        while self.is_open and (reply := self._parser.gets()) is not _INCOMPLETE:
            if isinstance(reply, LostConnection):  # it loads its data, or takes nobody more
                raise reply
            if not self._expected:
                raise InvalidResponse("a reply that belongs to no command")
            self._replies.append(reply)
            if len(self._replies) == self._expected[0]:
                replies, self._replies = self._replies, []
                self._expected.popleft()
                self._answered(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection has ended; called by asyncio."""
        self._streams.connection_lost(exc)  # redis-py's `disconnect` waits for this
        error = LostConnection("Connection closed by server.")
        error.__cause__ = exc
        self._end(error)

    def _end(self, error: Exception) -> None:
        if self.is_open:
            self.forget()
            self._lost(error)
