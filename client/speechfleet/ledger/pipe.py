"""Commands of one moment, sent as one write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import hiredis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

Argument = str | bytes | int | float

BATCH = 512
"""Commands in one write."""
BATCH_BYTES = 256 << 10
"""Bytes after which a write takes no further command."""
WRITES = 1
"""Writes under way at once, each on a connection of its own. With one, more commands share it."""
TIMEOUT = 30.0
"""Seconds for a write and all its replies."""


class Pipe:
    """Commands of concurrent tasks, sent together.

    What waits when a connection is free goes out as one pipeline. That, not the commands, is
    what a client library costs: a fleet's worker runs hundreds of small commands at once.
    Commands are packed in C; redis-py's own packing costs ten times that. While the server is
    away a write is repeated, as often as the connections' retry allows.
    """

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self._pool = redis.connection_pool
        self._callbacks: Mapping[Any, Callable[[Any], Any]] = redis.response_callbacks
        self._waiting: deque[tuple[bytes, asyncio.Future[Any]]] = deque()
        self._idle: list[AbstractConnection] = []
        self._writers: set[asyncio.Task[None]] = set()
        self._writing = 0

    async def call(self, *command: Argument) -> Any:
        """The reply, as redis-py gives it for this command."""
        reply = await self._enqueue(command)
        as_told = self._callbacks.get(str(command[0]))
        return as_told(reply) if as_told is not None else reply

    async def call_all(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """The raw replies, or errors, in the commands' order: no task for each of many."""
        futures = [self._enqueue(command) for command in commands]
        if futures:
            await asyncio.wait(futures)
        return [future.exception() or future.result() for future in futures]

    def _enqueue(self, command: Sequence[Argument]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((_pack(command), future))
        if self._writing < WRITES:
            self._writing += 1
            writer = asyncio.create_task(self._write())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return future

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._write_next()
        finally:
            # Here and not when the task is done: who calls in between must start another.
            self._writing -= 1

    async def _write_next(self) -> None:
        commands, futures = self._next()
        try:
            replies = await self._exchange(commands)
        except Exception as error:  # noqa: BLE001 # every waiting task gets it
            replies = [error] * len(futures)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        for future, reply in zip(futures, replies, strict=True):
            if future.done():
                continue
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def _next(self) -> tuple[list[bytes], list[asyncio.Future[Any]]]:
        commands: list[bytes] = []
        futures: list[asyncio.Future[Any]] = []
        size = 0
        while self._waiting and len(commands) < BATCH and size < BATCH_BYTES:
            command, future = self._waiting.popleft()
            commands.append(command)
            futures.append(future)
            size += len(command)
        return commands, futures

    async def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        connection = self._idle.pop() if self._idle else await self._connection()
        try:
            return await connection.retry.call_with_retry(
                lambda: _round_trip(connection, commands), lambda _: connection.disconnect()
            )
        finally:
            self._idle.append(connection)

    async def _connection(self) -> AbstractConnection:
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py
        # Its own time-out sets a timer for each reply and makes a task of each write.
        connection.socket_timeout = None
        return connection

    async def close(self) -> None:
        """The connections are the client's, which closes them."""
        for writer in list(self._writers):
            writer.cancel()
        for _, future in self._waiting:
            future.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)


def _pack(command: Sequence[Argument]) -> bytes:
    """As RESP."""
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # it takes any length
    return packed


async def _round_trip(connection: AbstractConnection, commands: Sequence[bytes]) -> list[Any]:
    replies: list[Any] = []
    async with asyncio.timeout(TIMEOUT):
        await connection.send_packed_command(commands)
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as error:
                replies.append(error)
    return replies
