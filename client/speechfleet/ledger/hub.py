"""Reading many chunk streams over few connections, and hearing that a job ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self

from redis import exceptions

from speechfleet.chunks import Entry, decode
from speechfleet.errors import FleetUnavailable
from speechfleet.ledger.connection import Connection

log = logging.getLogger(__name__)

STREAMS_PER_CONNECTION = 32
CONNECTIONS = 32
BLOCK_MS = 5000
COUNT = 8
"""Entries of one stream in one reply: bounds what a reader of a long stream holds."""
AHEAD = 64
"""Entries that a reader may be behind before its stream is no longer asked for."""
AWAY = 60.0
"""Seconds without Redis after which a reader is told."""

Batch = list[tuple[str, Entry | None]]


class Subscription:
    """One reader of one stream: entries in order, each once, from ``after`` on."""

    def __init__(self, reader: _Reader, key: str, after: str) -> None:
        self._reader = reader
        self.key = key
        self.after = after
        self._entries: deque[tuple[str, Entry | None]] = deque()
        self._arrived = asyncio.Event()
        self._error: Exception | None = None

    @property
    def full(self) -> bool:
        return len(self._entries) >= AHEAD

    async def next(self, timeout: float) -> Batch:
        """What has come, at least one entry; [] when nothing came in ``timeout`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._arrived.wait()
        if self._error is not None:
            raise self._error
        was_full = self.full
        batch = list(self._entries)
        self._entries.clear()
        self._arrived.clear()
        if was_full:
            self._reader.wake()
        return batch

    def put(self, batch: Batch) -> None:
        self._entries.extend(batch)
        self.after = batch[-1][0]
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._arrived.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.remove(self)


class _Reader:
    """One connection that waits for the entries of up to some 32 streams."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._redis = connection.client(blocking=True)
        self.subscriptions: list[Subscription] = []
        self._client_id: int | None = None
        self._changed = asyncio.Event()
        self._asking: frozenset[Subscription] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop_task = asyncio.create_task(self._run())

    def add(self, subscription: Subscription) -> None:
        self.subscriptions.append(subscription)
        self.wake()

    def remove(self, subscription: Subscription) -> None:
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)

    def wake(self) -> None:
        """Make the connection ask again, with the streams there are now."""
        self._changed.set()
        if self._client_id is not None:
            task = asyncio.create_task(self._unblock())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _unblock(self) -> None:
        # The server may not have blocked yet when this gets there: until the question that is
        # under way holds what is wanted, ask again.
        while self._client_id is not None and not self._wanted() <= self._asking:
            await self._connection.scripts.call("CLIENT", "UNBLOCK", self._client_id)
            await asyncio.sleep(0.002)

    def _wanted(self) -> frozenset[Subscription]:
        return frozenset(s for s in self.subscriptions if not s.full)

    async def _run(self) -> None:
        away_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            self._asking = self._wanted()
            if not self._asking:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                await self._read(list(self._asking))
                away_since = None
            except (exceptions.RedisError, OSError) as error:
                self._client_id = None
                away_since = away_since or loop.time()
                if loop.time() - away_since > AWAY:
                    self._fail(error)
                    away_since = None
                await asyncio.sleep(0.1)

    async def _read(self, asked: list[Subscription]) -> None:
        if self._client_id is None:
            self._client_id = int(await self._redis.client_id())
        by_key: dict[bytes, list[Subscription]] = {}
        for subscription in asked:
            by_key.setdefault(subscription.key.encode(), []).append(subscription)
        positions = [min((s.after for s in group), key=_order) for group in by_key.values()]
        reply: Any = await self._redis.execute_command(  # type: ignore[no-untyped-call]  # redis-py
            "XREAD", "COUNT", COUNT, "BLOCK", BLOCK_MS, "STREAMS", *by_key, *positions
        )
        self._asking = frozenset()
        for key, entries in reply or ():
            batch = [(entry.decode(), decode(fields)) for entry, fields in entries]
            for subscription in by_key[key]:
                new = [item for item in batch if _order(item[0]) > _order(subscription.after)]
                if new:
                    subscription.put(new)

    def _fail(self, error: Exception) -> None:
        told = FleetUnavailable(f"Redis has been away for {AWAY:g} s ({type(error).__name__})")
        for subscription in self.subscriptions:
            subscription.fail(told)

    async def close(self) -> None:
        self._client_id = None
        tasks = [self._loop_task, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._redis.aclose()


def _order(id: str) -> tuple[int, int]:
    milliseconds, _, sequence = id.partition("-")
    return int(milliseconds), int(sequence or 0)


class Hub:
    """Hands out subscriptions, spread over connections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._readers: list[_Reader] = []
        self._channels: Channels | None = None

    def subscribe(self, key: str, after: str = "0") -> Subscription:
        """Entries of a stream that need not exist yet. Use it as an async context manager."""
        reader = min(self._readers, key=lambda r: len(r.subscriptions), default=None)
        crowded = reader is None or len(reader.subscriptions) >= 1
        if reader is None or (crowded and len(self._readers) < CONNECTIONS):
            reader = _Reader(self._connection)
            self._readers.append(reader)
        subscription = Subscription(reader, key, after)
        reader.add(subscription)
        return subscription

    @property
    def channels(self) -> Channels:
        if self._channels is None:
            self._channels = Channels(self._connection)
        return self._channels

    async def close(self) -> None:
        await asyncio.gather(*(reader.close() for reader in self._readers))
        self._readers.clear()
        if self._channels is not None:
            await self._channels.close()


class Channels:
    """Publish/subscribe hints. They may be missed: whoever waits also looks now and then."""

    def __init__(self, connection: Connection) -> None:
        self._redis = connection.client(blocking=True)
        self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        self._queues: dict[str, set[asyncio.Queue[bytes]]] = {}
        self._task: asyncio.Task[None] | None = None
        # One at a time: of two that connect at once, redis-py forgets one connection and what
        # is subscribed on it.
        self._subscribing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def listen(self, channel: str) -> AsyncGenerator[asyncio.Queue[bytes], None]:
        """A queue of what is published to the channel from now on."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        queues = self._queues.setdefault(channel, set())
        queues.add(queue)
        try:
            if len(queues) == 1:
                async with self._subscribing:
                    with contextlib.suppress(exceptions.RedisError, OSError):
                        await self._pubsub.subscribe(channel)
            if self._task is None:
                self._task = asyncio.create_task(self._run())
            yield queue
        finally:
            queues.discard(queue)
            if not queues:
                self._queues.pop(channel, None)
                async with self._subscribing:
                    if channel not in self._queues:  # nobody came meanwhile
                        with contextlib.suppress(exceptions.RedisError, OSError):
                            await self._pubsub.unsubscribe(channel)

    async def _run(self) -> None:
        while True:
            try:
                message: Any = await self._pubsub.get_message(timeout=None)
            except (exceptions.RedisError, OSError, RuntimeError):
                await asyncio.sleep(0.1)
                continue
            if message is None:
                continue
            for queue in self._queues.get(message["channel"].decode(), ()):
                queue.put_nowait(message["data"])

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._redis.aclose()
