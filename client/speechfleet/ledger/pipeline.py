"""Commands of one moment, sent as one write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import hiredis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from speechfleet.ledger.loop_owner import LoopOwner
from speechfleet.ledger.server_errors import Remedy, is_lost_connection, refusal

Argument = str | bytes | int | float

BATCH = 512
"""Commands in one write."""
BATCH_BYTES = 256 << 10
"""Bytes after which a write takes no further command."""
WRITES = 1
"""Writes under way at once, each on a connection of its own. With one, more commands share it."""
SILENCE_S = 1.5
"""Seconds without a reply after which another connection is tried."""
GRACE_S = 0.5
"""Seconds that a silent connection still has once another one was answered."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
"""Seconds between two attempts to connect; the pause doubles from the first to the longest."""


class CommandPipeline:
    """Commands of concurrent tasks, sent together.

    All commands that wait when a connection is free go out as one pipeline: the cost of a
    client library is its writes, and a worker runs hundreds of small commands at once. They are
    packed in C, which takes a tenth of the time that redis-py's own packing takes.

    While the server is away a write is repeated, for ``patience_s`` seconds; so is a command
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
        self._waiting: deque[tuple[bytes, asyncio.Future[Any]]] = deque()
        self._idle: list[AbstractConnection] = []
        self._writers: set[asyncio.Task[None]] = set()
        self._writing = 0
        self.connects = 0
        """Number of connections opened so far: if it changes, the server may be another one."""
        self._owner = LoopOwner()
        self._outdated = False
        self._failing_since: float | None = None
        self._under_way_since: float | None = None

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
        replies, pauses = await self._gather(commands), _Pauses(self._patience_s)
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
        pauses = _Pauses(self._patience_s)
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
        self._outdated = self._outdated or found.remedy is Remedy.RECONNECT
        return True

    def deaf_for(self, now: float) -> float:
        """Return the seconds for which commands have gone unanswered, by the loop's clock."""
        since = [at for at in (self._failing_since, self._under_way_since) if at is not None]
        return now - min(since) if since else 0.0

    def send(self, command: Sequence[Argument]) -> asyncio.Future[Any]:
        """Send a command; the future gets the raw reply, or the error."""
        if self._owner.moved(self._pool, self._idle, self._writers):
            self._forget_connections()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        packed = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # of any length
        self._waiting.append((packed, future))
        if self._writing < WRITES:
            self._writing += 1
            writer = asyncio.create_task(self._write())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return future

    def _forget_connections(self) -> None:
        """Begin anew on another event loop."""
        self._waiting, self._idle, self._writers, self._writing = deque(), [], set(), 0
        self._failing_since = self._under_way_since = None
        reset(self._pool)

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._write_next()
        finally:
            # Not when the task is done: a caller that comes in between must start another.
            self._writing -= 1

    async def _write_next(self) -> None:
        commands, futures = _take_batch(self._waiting)
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

    async def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        connection = self._idle.pop() if self._idle else new_connection(self._pool)
        pauses = _Pauses(self._patience_s)
        was_open = connection.is_connected
        try:
            while True:
                try:
                    replies = await self._round_trip(connection, commands)
                except Exception as error:
                    await connection.disconnect(nowait=True)
                    if not is_lost_connection(error):
                        raise
                    if was_open:  # the server was there a moment ago
                        pauses, was_open = _Pauses(self._patience_s), False
                    if self._failing_since is None:
                        self._failing_since = asyncio.get_running_loop().time()
                    if not await pauses.wait():
                        raise
                else:
                    self._failing_since = None
                    return replies
        finally:
            self._idle.append(connection)

    async def _round_trip(
        self, connection: AbstractConnection, commands: Sequence[bytes]
    ) -> list[Any]:
        if self._outdated:
            self._outdated = False
            await connection.disconnect(nowait=True)
        if not connection.is_connected:
            await connect(connection, self._connect_timeout_s)
            self.connects += 1
        replies: list[Any] = []
        self._under_way_since = asyncio.get_running_loop().time()
        async with asyncio.timeout(None) as limit:
            probe = partial(_answers, self._pool, self._connect_timeout_s)
            watch = _Watch(limit, replies, self._timeout_s, probe)
            try:
                await connection.send_packed_command(commands, check_health=False)
                for _ in commands:
                    try:
                        replies.append(await connection.read_response())
                    except ResponseError as error:
                        replies.append(error)
            finally:
                self._under_way_since = None
                watch.stop()
        return replies

    async def close(self) -> bool:
        """End what is under way; False if the connections are another loop's. Idempotent."""
        if not self._owner.leave():
            return False
        for writer in list(self._writers):
            writer.cancel()
        for _, future in self._waiting:
            future.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        while self._idle:
            await self._idle.pop().disconnect()
        return True


def _take_batch(
    waiting: deque[tuple[bytes, asyncio.Future[Any]]],
) -> tuple[list[bytes], list[asyncio.Future[Any]]]:
    """Take the commands of one write from those that wait, with their futures."""
    count = size = 0
    for count, (command, _) in enumerate(islice(waiting, BATCH), 1):  # noqa: B007 # is used below
        size += len(command)
        if size >= BATCH_BYTES:
            break
    batch = [waiting.popleft() for _ in range(count)]
    return [command for command, _ in batch], [future for _, future in batch]


async def _answers(pool: redis.asyncio.ConnectionPool, timeout_s: float) -> bool:
    """Tell whether the server, or the primary of now, answers on a new connection."""
    probe = new_connection(pool)
    try:
        await connect(probe, timeout_s)
        async with asyncio.timeout(timeout_s):
            await probe.send_command("PING", check_health=False)
            await probe.read_response()
    except ResponseError:
        pass  # that is an answer, too
    except Exception as error:
        if is_lost_connection(error):
            return False
        raise
    finally:
        await probe.disconnect(nowait=True)
    return True


class _Pauses:
    """Pauses between attempts, which double, until the patience is over."""

    def __init__(self, patience_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._end = self._clock() + patience_s
        self._pause = FIRST_PAUSE_S

    async def wait(self) -> bool:
        """Sleep until the next attempt; False when there shall be none."""
        if self._clock() + self._pause > self._end:
            return False
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        return True


class _Watch:
    """Ends an exchange whose connection is dead, or whose time is over.

    ``answers`` tells whether the server answers elsewhere: a server that stands still, or loads
    a large reply, is waited for; a connection that is silent on its own is not.
    """

    def __init__(
        self,
        limit: asyncio.Timeout,
        replies: Sequence[Any],
        timeout_s: float,
        answers: Callable[[], Awaitable[bool]],
    ) -> None:
        self._limit = limit
        self._replies = replies
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + timeout_s
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        self._timer = self._loop.call_later(min(SILENCE_S, timeout_s), self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        seen = 0
        while self._loop.time() < self._end:
            if len(self._replies) > seen:
                seen = len(self._replies)
                await asyncio.sleep(SILENCE_S)
            elif await self._answers():
                await asyncio.sleep(GRACE_S)
                if len(self._replies) == seen:
                    break
            else:
                await asyncio.sleep(SILENCE_S)
        # redis-py asks Sentinels with `asyncio.wait_for`, which may swallow our cancellation.
        if not self._is_over:
            self._limit.reschedule(self._loop.time())

    def stop(self) -> None:
        self._is_over = True
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


def new_connection(pool: redis.asyncio.ConnectionPool) -> AbstractConnection:
    """Make a connection of the pool's kind for one owner, without time-outs of its own.

    redis-py's time-out sets a timer for each reply, makes a task of each write, and swallows a
    cancellation now and then (`asyncio.wait_for` before Python 3.12). Its retries would multiply
    with the owner's.
    """
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py
    connection.socket_timeout = None
    connection.retry = Retry(NoBackoff(), 0)
    return connection


async def connect(connection: AbstractConnection, timeout_s: float) -> None:
    """Open it, unless it is open. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py


def reset(pool: redis.asyncio.ConnectionPool) -> None:
    """Forget the connections of a pool without touching them, and those to the Sentinels."""
    pool.reset()  # type: ignore[no-untyped-call]  # redis-py
    manager = getattr(pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager is not None else ():
        sentinel.connection_pool.reset()
