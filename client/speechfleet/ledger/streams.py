"""Reading many chunk streams over few connections, and hearing that a job ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Container, Sequence
from types import TracebackType
from typing import Any, Self

from redis import exceptions

from speechfleet.chunks import Entry, MalformedEntry, decode
from speechfleet.errors import FleetUnavailable, SpeechFleetError
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.lasting_connection import connect, new_connection
from speechfleet.ledger.loop_owner import LoopOwner
from speechfleet.ledger.lost_tail import entry_order, surviving_entry
from speechfleet.ledger.server_errors import is_lost_connection, refusal

log = logging.getLogger(__name__)

CONNECTIONS = 32
BLOCK_MS = 3000
"""Milliseconds for which the server holds a read of streams without a new entry."""
REPLY_TIMEOUT_S = BLOCK_MS / 1000 + 1.5
"""After this a connection without a reply is dead: another one is made."""
COUNT = 8
"""Entries of one stream in one reply: bounds what a reader of a long stream holds."""
BACKLOG = 64
"""Entries that a reader may be behind before its stream is no longer asked for."""
UNBLOCK_PAUSE_S, UNBLOCK_ATTEMPTS = 0.002, 9
"""The pause doubles: after about a second of attempts the connection counts as dead."""
RECONNECT_PAUSE_S = 0.1
PING_AFTER_S = 3.0
"""Silence of a channel connection after which it is pinged; as long again, and it is dead."""

Batch = list[tuple[str, Entry | None]]


class Subscription:
    """Reads a stream: entries in order, each once, from ``after`` on."""

    def __init__(self, reader: _Reader, key: str, after: str) -> None:
        self._reader = reader
        self.key = key
        self.after = after
        self._entries: deque[tuple[str, Entry | None]] = deque()
        self._arrived = asyncio.Event()
        self._error: Exception | None = None

    @property
    def full(self) -> bool:
        return len(self._entries) >= BACKLOG

    async def next(self, timeout: float) -> Batch:
        """Wait for entries; [] when nothing came in ``timeout`` seconds.

        Raises FleetUnavailable when Redis has been away for longer than its patience.
        """
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
            self._reader.interrupt()
        return batch

    def put(self, batch: Batch) -> None:
        """Add entries, but for those that are there already."""
        new = [item for item in batch if entry_order(item[0]) > entry_order(self.after)]
        if new:
            self._entries.extend(new)
            self.after = new[-1][0]
            self._arrived.set()

    def missed(self, batch: Batch) -> None:
        """Add entries that were found elsewhere: the connection did not deliver them."""
        self.put(batch)
        self._reader.renew("it missed entries")

    def go_back(self, after: str) -> None:
        """Go on behind an earlier entry: the stream has lost those that came after it."""
        self._entries.clear()
        self.after = after
        self._reader.renew("a stream lost its tail")

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
    """Waits on a connection for the entries of up to some 32 streams.

    A connection without a reply in time is given up for another, which goes on from each
    subscription's last entry.
    """

    def __init__(self, connection: Connection) -> None:
        self._patience_s = connection.settings.redis_patience
        self._connect_timeout_s = connection.settings.redis_connect_timeout
        self._scripts = connection.scripts
        self._client = connection.client("streams")
        self._connection = new_connection(self._client.connection_pool)
        self.subscriptions: list[Subscription] = []
        self._client_id: int | None = None
        self._changed = asyncio.Event()
        self._asking: frozenset[Subscription] = frozenset()
        self._limit: asyncio.Timeout | None = None
        self._unblocking: asyncio.Task[None] | None = None
        self._closed = False
        self._loop_task = asyncio.create_task(self._run())

    def add(self, subscription: Subscription) -> None:
        self.subscriptions.append(subscription)
        self.interrupt()

    def remove(self, subscription: Subscription) -> None:
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)

    def interrupt(self) -> None:
        """Make the connection ask again, with the streams there are now."""
        self._changed.set()
        if self._client_id is not None and (self._unblocking is None or self._unblocking.done()):
            self._unblocking = asyncio.create_task(self._unblock(self._client_id))

    def renew(self, reason: str) -> None:
        """Give up the connection that is asking now."""
        if self._limit is not None:
            log.debug("a connection for streams is renewed: %s", reason)
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _unblock(self, client_id: int) -> None:
        # The server may not have blocked yet when this gets there: it is repeated until the
        # question that is under way holds what is wanted.
        pause = UNBLOCK_PAUSE_S
        for _ in range(UNBLOCK_ATTEMPTS):
            if client_id != self._client_id or self._wanted() <= self._asking:
                return
            try:
                await self._scripts.call("CLIENT", "UNBLOCK", client_id)
            except SpeechFleetError:
                return  # the reader finds out by itself
            await asyncio.sleep(pause)
            pause *= 2
        if client_id == self._client_id and not self._wanted() <= self._asking:
            self.renew("it does not react")

    def _wanted(self) -> frozenset[Subscription]:
        return frozenset(s for s in self.subscriptions if not s.full)

    async def _run(self) -> None:
        away_since: float | None = None
        loop = asyncio.get_running_loop()
        while not self._closed:
            self._asking = self._wanted()
            if not self._asking:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                await self._read(list(self._asking))
                away_since = None
            except Exception as error:
                if not is_lost_connection(error) and refusal(error) is None:
                    log.exception("reading streams broke; it goes on with another connection")
                self._client_id = None
                away_since = away_since or loop.time()
                if loop.time() - away_since > self._patience_s:
                    self._fail(error)
                    away_since = None
                await self._connection.disconnect(nowait=True)
                await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _read(self, asked: list[Subscription]) -> None:
        if self._client_id is None:
            await connect(self._connection, self._connect_timeout_s)
            self._client_id = int(await self._ask("CLIENT", "ID"))
        by_key: dict[bytes, list[Subscription]] = {}
        for subscription in asked:
            by_key.setdefault(subscription.key.encode(), []).append(subscription)
        positions = [min((s.after for s in group), key=entry_order) for group in by_key.values()]
        options = ("COUNT", COUNT, "BLOCK", BLOCK_MS)
        reply = await self._ask("XREAD", *options, "STREAMS", *by_key, *positions)
        self._asking = frozenset()
        for key, entries in reply or ():
            batch = [(entry.decode(), _decode(key, fields)) for entry, fields in entries]
            for subscription in by_key[key]:
                subscription.put(batch)

    async def _ask(self, *command: str | bytes | int) -> Any:
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S) as self._limit:
                await self._connection.send_command(*command, check_health=False)
                return await self._connection.read_response()
        finally:
            self._limit = None

    def _fail(self, error: Exception) -> None:
        away = FleetUnavailable(
            f"Redis has been away for {self._patience_s:g} s ({type(error).__name__}); listen "
            "again once it is back"
        )
        for subscription in self.subscriptions:
            subscription.fail(away)

    async def close(self) -> None:
        """End the reader, its task and its connection."""
        # A cancellation that meets a time-out inside redis-py is lost: the flag is not.
        self._closed = True
        self._client_id = None
        self._changed.set()
        tasks = [self._loop_task, *([self._unblocking] if self._unblocking else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.disconnect(nowait=True)
        await self._client.aclose()


def _decode(key: bytes, fields: Sequence[bytes]) -> Entry | None:
    """Decode an entry; None for one that cannot be read, which must not stop all others."""
    try:
        return decode(dict(zip(fields[::2], fields[1::2], strict=True)))
    except MalformedEntry as error:
        log.warning("an entry of stream %s is passed over: %s", key.decode(), error)
        return None


class Streams:
    """Hands out subscriptions, spread over connections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._readers: list[_Reader] = []
        self._channels: Channels | None = None
        self._owner = LoopOwner()

    def subscribe(self, key: str, after: str = "0") -> Subscription:
        """Follow a stream that need not exist yet. Use it as an async context manager."""
        self._begin_anew_if_moved()
        reader = min(self._readers, key=lambda r: len(r.subscriptions), default=None)
        crowded = reader is None or len(reader.subscriptions) >= 1
        if reader is None or (crowded and len(self._readers) < CONNECTIONS):
            reader = _Reader(self._connection)
            self._readers.append(reader)
        subscription = Subscription(reader, key, after)
        reader.add(subscription)
        return subscription

    async def surviving(self, key: str, after: str, delivered: Container[str]) -> str | None:
        """Return where a reader at ``after`` goes on if the stream lost its tail, else None."""
        return await surviving_entry(self._connection.scripts, key, after, delivered)

    @property
    def channels(self) -> Channels:
        self._begin_anew_if_moved()
        if self._channels is None:
            self._channels = Channels(self._connection)
        return self._channels

    def _begin_anew_if_moved(self) -> None:
        if self._owner.moved(self._readers, self._channels):
            self._readers, self._channels = [], None

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        if self._owner.leave():
            await asyncio.gather(*(reader.close() for reader in self._readers))
            if self._channels is not None:
                await self._channels.close()
        self._readers, self._channels = [], None


class Channels:
    """Publish/subscribe messages. Some may be missed: each listener also looks now and then.

    A connection that does not answer a ping is given up for another, which subscribes anew.
    """

    def __init__(self, connection: Connection) -> None:
        self._connect_timeout_s = connection.settings.redis_connect_timeout
        self._client = connection.client("channels")
        self._connection = new_connection(self._client.connection_pool)
        self._queues: dict[str, set[asyncio.Queue[bytes]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def listen(self, channel: str) -> AsyncGenerator[asyncio.Queue[bytes], None]:
        """Give a queue of what is published to the channel from now on."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        queues = self._queues.setdefault(channel, set())
        queues.add(queue)
        try:
            if len(queues) == 1:
                with contextlib.suppress(exceptions.RedisError, OSError):
                    await self._subscribe(channel)
            if self._task is None:
                self._task = asyncio.create_task(self._run())
            yield queue
        finally:
            queues.discard(queue)
            if not queues:
                self._queues.pop(channel, None)
                with contextlib.suppress(exceptions.RedisError, OSError):
                    await self._unsubscribe(channel)

    async def _subscribe(self, channel: str) -> None:
        if not await self._connect():
            await self._send("SUBSCRIBE", channel)

    async def _unsubscribe(self, channel: str) -> None:
        async with self._connecting:
            if self._connection.is_connected and channel not in self._queues:
                await self._send("UNSUBSCRIBE", channel)

    async def _send(self, *command: str) -> None:
        await self._connection.send_command(*command, check_health=False)

    async def _connect(self) -> bool:
        """Connect, and subscribe to all channels; False if it was connected."""
        async with self._connecting:
            if self._connection.is_connected:
                return False
            await connect(self._connection, self._connect_timeout_s)
            if self._queues:
                await self._send("SUBSCRIBE", *self._queues)
            return True

    async def _run(self) -> None:
        while True:
            try:
                await self._connect()
                await self._receive()
            except (exceptions.RedisError, OSError) as error:
                log.debug("a connection for channels is renewed: %r", error)
                await self._connection.disconnect(nowait=True)
                await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _receive(self) -> None:
        pinged = False
        while True:
            reply: Any = await self._connection.read_response(
                timeout=PING_AFTER_S, disconnect_on_error=False
            )
            if reply is None and pinged:
                raise exceptions.TimeoutError("no reply to a ping")
            pinged = reply is None
            if pinged:
                await self._send("PING")
            elif isinstance(reply, list) and reply[0] == b"message":
                for queue in self._queues.get(reply[1].decode(), ()):
                    queue.put_nowait(reply[2])

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.disconnect(nowait=True)
        await self._client.aclose()
