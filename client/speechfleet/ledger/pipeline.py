"""Commands of one moment, sent as one write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
import redis.asyncio

from speechfleet.ledger.lasting_connection import Command, LastingConnection, Pauses, reset
from speechfleet.ledger.loop_owner import LoopOwner
from speechfleet.ledger.server_errors import Remedy, refusal

Argument = str | bytes | int | float

BATCH = 512
"""Commands in one write."""
BATCH_BYTES = 256 << 10
"""Bytes after which a write takes no further command."""


class CommandPipeline:
    """Commands of concurrent tasks, sent together on one connection.

    A command on an idle connection goes out at once. All others of one moment are one batch: the
    cost of a client library is its writes, and a worker runs hundreds of small commands at once.
    They are packed in C, which takes a tenth of the time that redis-py's own packing takes, and
    as long as the connection holds no task is made for them.

    While the server is away a batch is sent again, for ``patience_s`` seconds; so is a command
    that the server refuses for now. Commands must therefore be idempotent. A connection whose
    peer went silent while the server answers others is given up within seconds.

    ``waits_for_room``: a server without memory is waited for, too.
    """

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        *,
        patience_s: float = 2.0,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        waits_for_room: bool = False,
    ) -> None:
        self._pool = redis.connection_pool
        self._callbacks: dict[Any, Any] = dict(redis.response_callbacks)
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._waits_for_room = waits_for_room
        self._waiting: deque[Command] = deque()
        self._will_send = False
        self._owner = LoopOwner()
        self._earlier_connects = 0
        self._connection = self._new_connection()

    def _new_connection(self) -> LastingConnection:
        return LastingConnection(
            self._pool,
            patience_s=self._patience_s,
            timeout_s=self._timeout_s,
            connect_timeout_s=self._connect_timeout_s,
            on_room=self._send_waiting,
        )

    @property
    def connects(self) -> int:
        """Count the connections opened so far: if it changes, the server may be another one."""
        return self._earlier_connects + self._connection.connects

    def deaf_for(self, now: float) -> float:
        """Return the seconds for which commands have gone unanswered, by the loop's clock."""
        return self._connection.deaf_for(now)

    async def call(self, *command: Argument) -> Any:
        """Return the reply, as redis-py gives it for this command."""
        try:
            reply = await self.send(command)
        except Exception as error:  # noqa: BLE001 # judged, and raised again
            reply = await self.send_again(command, error)
        convert = self._callbacks.get(command[0])
        return convert(reply) if convert is not None else reply

    async def call_all(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Return the raw replies, or errors, in the commands' order: no task for each of many."""
        commands = list(commands)
        replies, pauses = await self._gather(commands), Pauses(self._patience_s)
        while refused := [at for at, reply in enumerate(replies) if self._may_pass(reply)]:
            if not await pauses.wait():
                break
            again = await self._gather([commands[at] for at in refused])
            for at, reply in zip(refused, again, strict=True):
                replies[at] = reply
        return replies

    async def _gather(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        futures = [self.send(command) for command in commands]
        if futures:
            await asyncio.wait(futures)
        return [future.exception() or future.result() for future in futures]

    async def send_again(self, command: Sequence[Argument], error: Exception) -> Any:
        """Return the raw reply once the server takes it; others' commands go on meanwhile."""
        pauses = Pauses(self._patience_s)
        while self._may_pass(error) and await pauses.wait():
            try:
                return await self.send(command)
            except Exception as latest:  # noqa: BLE001 # judged by the loop
                error = latest
        raise error

    def _may_pass(self, reply: Any) -> bool:
        found = refusal(reply) if isinstance(reply, Exception) else None
        if found is None:
            return False
        if not (found.passes or (found.remedy is Remedy.MAKE_ROOM and self._waits_for_room)):
            return False
        if found.remedy is Remedy.RECONNECT:
            self._connection.reconnect()
        return True

    def send(self, command: Sequence[Argument]) -> asyncio.Future[Any]:
        """Send a command; the future gets the raw reply, or the error."""
        if self._owner.moved(self._pool, self._connection):
            self._forget_connection()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        packed = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # of any length
        self._waiting.append((packed, future))
        if self._connection.is_idle:
            self._send_waiting()
        elif not self._will_send:
            self._will_send = True
            loop.call_soon(self._send_together)  # with all that other tasks send at this moment
        return future

    def _send_together(self) -> None:
        self._will_send = False
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._connection.has_room:
            self._connection.send(_take_batch(self._waiting))

    def _forget_connection(self) -> None:
        """Begin anew on another event loop."""
        self._waiting, self._will_send = deque(), False
        self._earlier_connects = self.connects
        self._connection = self._new_connection()
        reset(self._pool)

    async def close(self) -> bool:
        """End what is under way; False if the connection is another loop's. Idempotent."""
        if not self._owner.leave():
            return False
        while self._waiting:
            self._waiting.popleft()[1].cancel()
        await self._connection.close()
        return True


def _take_batch(waiting: deque[Command]) -> list[Command]:
    """Take the commands of one write from those that wait."""
    batch: list[Command] = []
    size = 0
    while waiting and len(batch) < BATCH and size < BATCH_BYTES:
        batch.append(waiting.popleft())
        size += len(batch[-1][0])
    return batch
