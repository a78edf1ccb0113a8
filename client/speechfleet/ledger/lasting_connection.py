"""Send commands on one connection, which is opened again whenever it is lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from speechfleet.ledger.reply_reader import ReplyReader
from speechfleet.ledger.server_errors import is_lost_connection
from speechfleet.ledger.silence import Watch

Command = tuple[bytes, asyncio.Future[Any]]
"""A packed command, and the future that gets its reply."""

MAX_UNDER_WAY = 4
"""Batches that are sent before the first one is answered. With fewer, the server and this process
wait for one another; with more, each batch has fewer commands."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
"""Seconds between two attempts to connect; the pause doubles from the first to the longest."""


class LastingConnection:
    """Sends batches of commands on a connection that it opens again whenever it is lost.

    Each command gets its reply.

    While the server is away, what is not answered is sent again on a new connection, for
    ``patience_s`` seconds; then the commands get the error. ``on_room`` is called when another
    batch may be sent.
    """

    def __init__(
        self,
        pool: redis.asyncio.ConnectionPool,
        *,
        patience_s: float,
        timeout_s: float,
        connect_timeout_s: float,
        on_room: Callable[[], object],
    ) -> None:
        self._pool = pool
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._on_room = on_room
        self._under_way: deque[Sequence[Command]] = deque()
        """The batches that are not answered yet."""
        self._connection: AbstractConnection | None = None
        self._reader: ReplyReader | None = None
        self._watch: Watch | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._all_answered: asyncio.Future[None] | None = None
        """Is awaited by the recovery."""
        self._is_outdated = False
        self._failing_since: float | None = None
        self.connects = 0
        """Connections opened so far."""

    @property
    def has_room(self) -> bool:
        """Tell whether a batch may be sent now."""
        if self._recovery is not None or len(self._under_way) >= MAX_UNDER_WAY:
            return False
        return not (self._is_outdated and self._under_way)

    @property
    def is_idle(self) -> bool:
        """Tell whether every batch is answered."""
        return not self._under_way and self._recovery is None

    def deaf_for(self, now: float) -> float:
        """Return the seconds for which commands have gone unanswered, by the loop's clock."""
        since = now if self._failing_since is None else self._failing_since
        if self._reader is not None and self._reader.is_busy:
            since = min(since, self._reader.silent_since)
        return now - since

    def reconnect(self) -> None:
        """Send what comes from now on to whichever server is the primary then."""
        self._is_outdated = True

    def send(self, batch: Sequence[Command]) -> None:
        """Send a batch, for which there must be room."""
        self._under_way.append(batch)
        if self._reader is None or not self._reader.is_open or self._is_outdated:
            self._recover()
        else:
            self._write(batch)

    def _write(self, batch: Sequence[Command]) -> None:
        assert self._reader is not None
        assert self._watch is not None
        self._reader.send([command for command, _ in batch])
        self._watch.begin()

    def _answered(self, replies: Sequence[Any]) -> None:
        self._failing_since = None
        _settle(self._under_way.popleft(), replies)
        if not self._under_way and (waiting := self._recovery_waiter()):
            waiting.set_result(None)
        self._on_room()

    def _lost(self, error: Exception) -> None:
        if waiting := self._recovery_waiter():
            waiting.set_exception(error)
        elif not is_lost_connection(error):
            self._fail(error)
        elif self._under_way:
            self._note_failure()
            self._recover()

    def _recovery_waiter(self) -> asyncio.Future[None] | None:
        """Return the future by which the recovery waits, if it does."""
        waiting = self._all_answered
        return None if waiting is None or waiting.done() else waiting

    def _note_failure(self) -> None:
        if self._failing_since is None:
            self._failing_since = asyncio.get_running_loop().time()

    def _fail(self, error: Exception) -> None:
        while self._under_way:
            batch = self._under_way.popleft()
            _settle(batch, [error] * len(batch))

    def _recover(self) -> None:
        self._recovery = asyncio.get_running_loop().create_task(self._send_again())

    async def _send_again(self) -> None:
        """Send what is under way on a new connection, repeatedly while patience lasts."""
        pauses = Pauses(self._patience_s)
        while True:
            try:
                await self._open()
                await self._send_all()
            except Exception as error:  # noqa: BLE001 # every command under way gets it
                if is_lost_connection(error):
                    self._note_failure()
                    if await pauses.wait():
                        continue
                self._fail(error)
            break
        self._recovery = None
        self._on_room()

    async def _send_all(self) -> None:
        self._all_answered = asyncio.get_running_loop().create_future()
        try:
            for batch in list(self._under_way):
                self._write(batch)
            await self._all_answered
        finally:
            self._all_answered = None

    async def _open(self) -> None:
        """Open the connection, to whichever server is the primary now."""
        self._is_outdated = False
        await self._disconnect(nowait=True)
        connection = self._connection = self._connection or new_connection(self._pool)
        await connect(connection, self._connect_timeout_s)
        self.connects += 1
        self._reader = ReplyReader(connection, self._answered, self._lost)
        answers = partial(_answers, self._pool, self._connect_timeout_s)
        self._watch = Watch(self._reader, self._timeout_s, answers)

    async def _disconnect(self, *, nowait: bool) -> None:
        if self._reader is not None:
            self._reader.forget()
        if self._watch is not None:
            self._watch.stop()
        self._reader = self._watch = None
        if self._connection is not None:
            await self._connection.disconnect(nowait=nowait)

    async def close(self) -> None:
        """Close the connection; commands under way are cancelled. Idempotent."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        await self._disconnect(nowait=False)
        self._connection = None
        while self._under_way:
            for _, future in self._under_way.popleft():
                future.cancel()


def _settle(batch: Sequence[Command], replies: Sequence[Any]) -> None:
    """Give each command its reply."""
    for (_, future), reply in zip(batch, replies, strict=True):
        if future.done():  # whoever waited was cancelled
            continue
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)


async def _answers(pool: redis.asyncio.ConnectionPool, timeout_s: float) -> bool:
    """Tell whether the server, or the primary of now, answers on a new connection."""
    probe = new_connection(pool)
    try:
        await connect(probe, timeout_s)
        async with asyncio.timeout(timeout_s):
            await probe.send_command("PING", check_health=False)
            await probe.read_response()
    except Exception as error:  # noqa: BLE001 # a refusal is an answer, too
        return not is_lost_connection(error)
    finally:
        await probe.disconnect(nowait=True)
    return True


class Pauses:
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
