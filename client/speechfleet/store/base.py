"""The interface of a store: write-once objects under keys, read whole or by ranges.

A store's own work is blocking code behind a few hooks. It runs in the store's own threads,
never on the loop, and whatever it raises is mapped to a StoreError in one place: `Threads`.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import uuid4

from speechfleet.errors import (
    InvalidRequest,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
)
from speechfleet.store import metadata as ascii_metadata

T = TypeVar("T")
Data = bytes | bytearray | memoryview

_ILLEGAL = re.compile(r"[\x00-\x1f\\\x7f\ud800-\udfff]").search

THREADS = 16
"""A store's operations at once; also the connections that an S3 client keeps."""
HEAD_BYTES = 64 << 10
"""How far `Upload.patch_head` reaches."""
LONGEST_PART = 238
"""Bytes between two slashes: a file name has 255, of which temporary names need some."""
LONGEST_KEY = 900
"""Bytes; S3 takes 1024 with the store's prefix."""


@dataclass(frozen=True)
class ObjectInfo:
    """``size`` in bytes; ``modified`` in Unix seconds, by the store's clock."""

    key: str
    size: int
    media_type: str
    metadata: dict[str, str]
    modified: float


@dataclass(frozen=True)
class NewObject:
    """What `Store.put` takes."""

    key: str
    data: Data
    media_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class Threads:
    """Runs blocking calls beside the loop; ``mapping`` turns foreign errors into own ones."""

    def __init__(self, mapping: Callable[[], AbstractContextManager[None]]) -> None:
        self._mapping = mapping
        self.timed: Callable[[float], object] = lambda seconds: None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="speechfleet-store")

    async def run(self, call: Callable[[], T]) -> T:
        """A call that was cancelled may still come to its end in its thread."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await loop.run_in_executor(self._pool, self._map, call)
        finally:
            self.timed(loop.time() - began)

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)

    def _map(self, call: Callable[[], T]) -> T:
        with self._mapping():
            return call()


class Upload(ABC):
    """One long object, written while it is spoken; from `Store.upload`.

    One call at a time. Memory is bounded: some 10 MiB and what the last `write` brought.
    A step that raised StoreUnavailable has changed nothing and may be made again.
    """

    def __init__(self, key: str, metadata: Mapping[str, str], threads: Threads) -> None:
        self._key = key
        self._metadata = ascii_metadata.encode(metadata)
        self._late = metadata
        self._threads = threads
        self._step: asyncio.Future[None] | None = None
        self._size = 0
        self._committing = False
        self._ended = False

    async def write(self, data: Data) -> None:
        """Append; the data are taken whole or, where this raises, not at all."""
        data = bytes(data)
        self._require_open()
        await self._run(lambda: self._write(data))
        self._size += len(data)

    async def patch_head(self, offset: int, data: bytes) -> None:
        """Overwrite bytes that were written; a header's sizes are known last.

        Only within the first 64 KiB, else InvalidRequest.
        """
        self._require_open()
        if offset < 0 or offset + len(data) > min(self._size, HEAD_BYTES):
            raise InvalidRequest(
                f"a patch at {offset} of {len(data)} bytes is not within the first "
                f"{min(self._size, HEAD_BYTES)}"
            )
        await self._run(lambda: self._patch(offset, data))

    async def commit(self, metadata: Mapping[str, str] | None = None) -> None:
        """Make the object, whole or not at all. Raises ObjectExists, and leaves nothing then.

        ``metadata`` is added to what `Store.upload` was given. On S3 an object of more than
        10 MiB has its metadata fixed before its length is known, and carries only the former.
        """
        late = ascii_metadata.encode({**self._late, **(metadata or {})})
        if self._ended:
            raise RuntimeError(f"the upload of {self._key} has ended")
        self._committing = True
        try:
            await self._run(lambda: self._commit(late))
        except ObjectExists:
            await self.abort()
            raise
        self._ended = True

    async def abort(self) -> None:
        """Leave nothing behind; idempotent, and without effect once `commit` has returned.

        Waits for a step that was cancelled half-way; a commit among them is undone.
        """
        await self._settle()
        if not self._ended:
            await self._threads.run(self._discard)
            self._ended = True

    async def _run(self, call: Callable[[], None]) -> None:
        await self._settle()
        # Shielded: its thread cannot be stopped, and `abort` must know when it is done.
        self._step = asyncio.ensure_future(self._threads.run(call))
        self._step.add_done_callback(_retrieve)
        await asyncio.shield(self._step)

    def _require_open(self) -> None:
        # What a commit has begun to send cannot be changed, even where it failed half-way.
        if self._committing or self._ended:
            raise RuntimeError(f"the upload of {self._key} takes nothing more")

    async def _settle(self) -> None:
        if self._step is not None:
            await asyncio.wait([self._step])

    @abstractmethod
    def _write(self, data: bytes) -> None: ...

    @abstractmethod
    def _patch(self, offset: int, data: bytes) -> None: ...

    @abstractmethod
    def _commit(self, metadata: dict[str, str]) -> None: ...

    @abstractmethod
    def _discard(self) -> None: ...


def _retrieve(step: asyncio.Future[None]) -> None:
    """An error that nobody waits for any more is no news to the loop."""
    if not step.cancelled():
        step.exception()


class Store(ABC):
    """Objects under keys: relative paths, each part at most 238 bytes, no ``.`` or ``..``.

    Every method may raise StoreUnavailable (try again) and StoreDenied (somebody has to mend
    it); an illegal key is InvalidRequest. Many processes may share a store.
    """

    url: str

    def __init__(self, url: str) -> None:
        self.url = url
        self._threads = Threads(self._mapping)

    def when_done(self, tell: Callable[[float], object]) -> None:
        """``tell`` hears how many seconds each call took, failed or not."""
        self._threads.timed = tell

    async def put(
        self, key: str, data: Data, *, media_type: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write once: ObjectExists where the key is taken. Durable when it returns.

        ``metadata``: lower-case names, any text as values, 2 KB in all.
        """
        new = NewObject(key, data, media_type, metadata or {})
        if not (await self.put_all([new]))[0]:
            raise ObjectExists(f"{key} exists")

    async def put_all(self, objects: Sequence[NewObject]) -> list[bool]:
        """Write each in turn; whether its key was free. Where this raises, the first ones may be
        written. Beside a `put` each, it costs one way into a thread and back.
        """
        for new in objects:
            check_key(new.key)
        encoded = [ascii_metadata.encode(new.metadata) for new in objects]

        def put_each() -> list[bool]:
            return [self._is_put(new, each) for new, each in zip(objects, encoded, strict=True)]

        return await self._threads.run(put_each)

    def _is_put(self, new: NewObject, metadata: dict[str, str]) -> bool:
        try:
            self._put(new.key, new.data, new.media_type, metadata)
        except ObjectExists:
            return False
        return True

    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes [start, end), fewer where the object ends before. Raises ObjectMissing."""
        check_key(key)
        if start < 0 or (end is not None and end < start):
            raise InvalidRequest(f"bytes {start} to {end} are no range")
        return await self._threads.run(lambda: self._get(key, start, end))

    async def head(self, key: str) -> ObjectInfo:
        """What is known of an object without reading it. Raises ObjectMissing."""
        check_key(key)
        return await self._threads.run(lambda: self._head(key))

    async def list(self, prefix: str = "") -> list[str]:
        """All keys that begin with ``prefix`` (it need not end at a slash), sorted."""
        _check_prefix(prefix)
        return await self._threads.run(lambda: sorted(self._list(prefix)))

    async def delete(self, key: str) -> None:
        """Idempotent."""
        check_key(key)
        await self._threads.run(lambda: self._delete(key))

    async def sweep(self, prefix: str, keep: str | None = None) -> int:
        """Delete what begins with ``prefix`` but ``keep``: objects and unfinished uploads.

        Answers how many of either. Idempotent; an empty prefix is refused.
        """
        if not prefix:
            raise InvalidRequest("an empty prefix would sweep the whole store")
        _check_prefix(prefix)
        return await self._threads.run(lambda: self._sweep(prefix, keep))

    def upload(
        self, key: str, *, media_type: str, metadata: Mapping[str, str] | None = None
    ) -> Upload:
        """Begin a long object; nothing is written yet. ``metadata``: what is known by now."""
        check_key(key)
        return self._upload(key, media_type, metadata or {})

    async def link(self, key: str, expires: float = 3600.0) -> str:
        """A URL to GET the object: presigned for ``expires`` seconds (7 days at most) on S3,
        ``file://`` of a folder. Whether there is such an object is not looked at."""
        check_key(key)
        return await self._threads.run(lambda: self._link(key, expires))

    async def check(self) -> None:
        """Write, read and delete a probe. Raises with a message that says what to do."""
        folder = f"speechfleet-probe/{uuid4().hex}/"
        try:
            await self._probe(folder)
        except StoreError:
            with suppress(StoreError):
                await self.sweep(folder)
            raise
        await self.sweep(folder)

    async def _probe(self, folder: str) -> None:
        key, told = f"{folder}probe", {"probe": "é"}
        put = partial(self.put, key, b"probe", media_type="text/plain", metadata=told)
        try:
            await put()
            if await self.get(key) != b"probe" or (await self.head(key)).metadata != told:
                raise StoreDenied(f"{self.url} returns other bytes or metadata than were written")
        except (ObjectExists, ObjectMissing) as error:
            raise StoreDenied(f"{self.url} does not keep what is written: {error}") from error
        with suppress(ObjectExists):
            await put()
            raise StoreDenied(
                f"{self.url} overwrites objects; it must honour conditional writes (If-None-Match)"
            )
        # S3 says 403 instead of 404 to whom it does not let list.
        with suppress(ObjectMissing):
            await self.get(f"{folder}missing")

    async def close(self) -> None:
        """Waits for what runs; idempotent. The store takes no further call."""
        await self._threads.close()

    @abstractmethod
    def _mapping(self) -> AbstractContextManager[None]:
        """Foreign errors raised within become StoreErrors."""

    @abstractmethod
    def _put(self, key: str, data: Data, media_type: str, metadata: dict[str, str]) -> None: ...

    @abstractmethod
    def _get(self, key: str, start: int, end: int | None) -> bytes: ...

    @abstractmethod
    def _head(self, key: str) -> ObjectInfo: ...

    @abstractmethod
    def _list(self, prefix: str) -> Iterable[str]: ...

    @abstractmethod
    def _delete(self, key: str) -> None: ...

    @abstractmethod
    def _sweep(self, prefix: str, keep: str | None) -> int: ...

    @abstractmethod
    def _upload(self, key: str, media_type: str, metadata: Mapping[str, str]) -> Upload: ...

    @abstractmethod
    def _link(self, key: str, expires: float) -> str: ...


def is_hidden(name: str) -> bool:
    """A folder's own files beside the objects: metadata, and what is being written."""
    return name.startswith(".") and name.endswith((".meta", ".part"))


def check_key(key: str) -> None:
    """Raises InvalidRequest. The rules are those of the strictest store."""
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts) or is_hidden(parts[-1]):
        raise InvalidRequest(f"illegal object key {key!r}")
    if _ILLEGAL(key):
        raise InvalidRequest(f"illegal character in object key {key!r}")
    if len(key.encode()) > LONGEST_KEY or any(len(p.encode()) > LONGEST_PART for p in parts):
        raise InvalidRequest(f"object key too long: {key!r}")


def _check_prefix(prefix: str) -> None:
    folder, slash, _ = prefix.rpartition("/")
    if slash:
        check_key(f"{folder}/x")
