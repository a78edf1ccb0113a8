"""The handle of a job, and what it gives: status, chunks, speech."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from speechfleet import keys
from speechfleet.chunks import Chunk, Entry, Rewind, Terminal
from speechfleet.errors import JobNotFound, ResultTimeout
from speechfleet.jobs import Record, Request, Segment, State
from speechfleet.keys import JobKeys
from speechfleet.reader import EntryReader, StreamReader, raise_unless_succeeded
from speechfleet.store import Store
from speechfleet.tts import BYTES_PER_SAMPLE

if TYPE_CHECKING:
    from speechfleet.client import AsyncClient

LOOK_EVERY = 3.0
"""Seconds between looks at the record while a result is awaited: its end may go unheard."""


@dataclass(frozen=True)
class Speech:
    """Finished audio. ``duration`` in seconds, ``bytes`` of the object, ``object`` its key."""

    id: str
    media_type: str
    sample_rate: int
    duration: float
    bytes: int
    object: str
    usage: dict[str, float]
    _store: Store = field(repr=False, compare=False)

    async def read(self) -> builtins.bytes:
        """The whole object, in the format that was asked for."""
        return await self._store.get(self.object)

    async def url(self, expires: float = 3600.0) -> str:
        """A link to it, made now: presigned for S3, file:// for a folder."""
        return await self._store.link(self.object, expires)


@dataclass(frozen=True)
class Status:
    """What a job is at this moment.

    ``waiting``: why it is QUEUED: ``"in line"``, ``"back-off"``, or ``"no_worker"`` where no
    live worker takes jobs of its queue. ``seconds``: audio made so far. Times are Unix seconds.
    """

    id: str
    state: State
    waiting: Literal["", "in line", "back-off", "no_worker"]
    model: str
    voice: str
    lane: str
    format: str
    epoch: int
    attempts: int
    losses: int
    worker: str
    seconds: float
    created: float
    updated: float
    code: str
    message: str
    object: str
    usage: dict[str, float]

    @classmethod
    def of(
        cls, record: Record, waiting: Literal["", "in line", "back-off", "no_worker"]
    ) -> Status:
        get = record.fields.get
        rate = record.sample_rate
        failing = record.state in (State.FAILED, State.CANCELLED) or waiting == "back-off"
        return cls(
            id=record.id,
            state=record.state,
            waiting=waiting,
            model=get("model", ""),
            voice=get("voice", ""),
            lane=get("lane", "live"),
            format=get("format", "wav"),
            epoch=record.epoch,
            attempts=record.attempts,
            losses=record.losses,
            worker=record.boot,
            seconds=record.audio / BYTES_PER_SAMPLE / rate if rate else 0.0,
            created=int(get("created", "0")) / 1000,
            updated=int(get("updated", "0")) / 1000,
            code=get("code", "") if failing else "",
            message=get("message", "") if failing else "",
            object=record.object,
            usage=record.usage,
        )


class AsyncJob:
    """One job of the fleet, by its id. Holds no state of its own but what was submitted."""

    def __init__(self, client: AsyncClient, id: str, request: Request | None = None) -> None:
        self._client = client
        self._request = request
        self.id = id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def _keys(self) -> JobKeys:
        return JobKeys(self._client.namespace, self.id)

    async def record(self) -> Record:
        """All that Redis knows of it. Raises JobNotFound."""
        return await self._client.ledger.load(self._client.namespace, self.id)

    async def status(self) -> Status:
        """Raises JobNotFound."""
        record = await self.record()
        return Status.of(record, await self._client.waiting(record))

    async def stream(
        self, *, accumulate: bool = True, linear: bool = False
    ) -> AsyncGenerator[Chunk, None]:
        """Chunks from the first byte, then live to the end, in order, each once.

        ``accumulate=False`` keeps no audio (``chunk.audio`` is not there); ``linear=True`` never
        takes back what was handed out. Raises JobFailed, JobCancelled, JobNotFound.
        """
        reader = StreamReader(
            self._client.ledger,
            self._client.hub,
            lambda: self._client.store,
            self._keys,
            accumulate=accumulate,
            linear=linear,
            resubmit=self._resubmit,
        )
        async with contextlib.aclosing(reader.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def entries(
        self, after: tuple[int, str] | None = None
    ) -> AsyncGenerator[tuple[int, str, Entry], None]:
        """(epoch, id, entry) of the chunk stream as it is, live to the terminal one.

        ``after``: the epoch and id of the last one seen. An epoch that is not the one seen
        before begins with a rewind to 0. Of a stream that has expired the terminal entry alone
        is left. Raises JobNotFound.
        """
        client = self._client
        reader = EntryReader(client.ledger, client.hub, self._keys, self._resubmit)
        record = await reader.record()
        seen, id = after or (record.epoch, "0")
        while True:
            if record.epoch != seen:
                seen, id = record.epoch, "0"
                yield seen, id, Rewind(0, record.claims, "a new epoch")
            async with contextlib.aclosing(reader.entries(record, id)) as entries:
                async for id, entry in entries:
                    yield seen, id, entry
                    if isinstance(entry, Terminal):
                        return
            record = await reader.record()

    async def segments(self) -> list[Segment]:
        """The finished segments, in order. Raises JobNotFound."""
        record = await self.record()
        return await self._client.ledger.segments(self._client.namespace, self.id, record.epoch)

    async def result(self, timeout: float | None = None) -> Speech:
        """The stored speech. Raises JobFailed, JobCancelled, ResultTimeout (the job goes on)."""
        try:
            async with asyncio.timeout(timeout):
                record = await self._ended()
        except TimeoutError:
            raise ResultTimeout(
                f"job {self.id!r} has not ended within {timeout:g} s; it goes on, ask again"
            ) from None
        raise_unless_succeeded(record)
        return Speech(
            id=self.id,
            media_type=record.fields["media_type"],
            sample_rate=record.sample_rate,
            duration=int(record.fields["duration_ms"]) / 1000,
            bytes=int(record.fields["bytes"]),
            object=record.object,
            usage=record.usage,
            _store=self._client.store,
        )

    async def _ended(self) -> Record:
        async with self._client.hub.channels.listen(self._keys.ended) as ended:
            while True:
                try:
                    record = await self.record()
                except JobNotFound:
                    if not await self._resubmit():
                        raise
                    continue
                if record.state.terminal:
                    return record
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.get(), LOOK_EVERY)

    async def cancel(self, reason: str = "cancelled by a client") -> bool:
        """Stop it at any moment; False where it had ended before. Idempotent."""
        return await self._client.ledger.cancel(self._client.namespace, self.id, reason)

    async def retry(self) -> None:
        """Begin a new epoch of a job that has ended. Raises IllegalTransition where it has not."""
        await self._client.ledger.retry(self._client.namespace, self.id)

    async def delete(self) -> None:
        """Erase record, text, stream, audio, and segments that nothing else uses. Idempotent.

        A job that runs is cancelled first. Objects are swept by the job's own prefix, so those
        of lost attempts go too.
        """
        namespace, ledger = self._client.namespace, self._client.ledger
        while (orphans := await ledger.delete(namespace, self.id)) == "running":
            await ledger.cancel(namespace, self.id, "deleted")
        self._request = None
        store = self._client.store
        await store.sweep(keys.objects_of(namespace, self.id))
        for hash in orphans:
            await store.delete(keys.segment_object(namespace, hash))

    async def _resubmit(self) -> bool:
        """Redis may lose its last second; who submitted the job can bring it back."""
        if self._request is None:
            return False
        try:
            await self._client.ledger.submit(
                self._client.namespace, self.id, self._request, "again"
            )
        except JobNotFound:
            return False
        return True
