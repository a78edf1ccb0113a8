"""The interface of a store: objects under keys, read whole or by ranges.

An object is written once: it can be replaced as a whole, and is never changed.

A store's own work is blocking code behind a few hooks. It runs in the store's own threads,
never on the loop, within a time, and whatever it raises is mapped to a StoreError: `Threads`.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

from speechfleet.errors import (
    InvalidRequest,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
)
from speechfleet.store import metadata as ascii_metadata
from speechfleet.store.threads import Threads

Data = bytes | bytearray | memoryview

_ILLEGAL = re.compile(r"[\x00-\x1f\\\x7f\ud800-\udfff]").search

HELD_BYTES = 10 << 20
"""The most that an upload keeps back, and that one step may send."""
HEAD_BYTES = 64 << 10
"""Bytes from the beginning that `Upload.patch_head` reaches."""
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
    """An object to be written."""

    key: str
    data: Data
    media_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class Upload(ABC):
    """Writes a long object while it is spoken; from `Store.upload`.

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
        await self._run(lambda: self._write(data), len(data) + HELD_BYTES)
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
            await self._run(lambda: self._commit(late), HELD_BYTES)
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

    async def _run(self, call: Callable[[], None], size: int = 0) -> None:
        await self._settle()
        # Shielded: its thread cannot be stopped, and `abort` must know when it is done.
        self._step = asyncio.ensure_future(self._threads.run(call, size=size))
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
    """Retrieve an error that nobody waits for, so that the loop does not log it."""
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
        self._threads = Threads(self._mapping, self._renew)

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
        size = sum(len(new.data) for new in objects)
        return await self._threads.run(partial(self._put_each, objects, encoded), size=size)

    @abstractmethod
    def _put_each(
        self, objects: Sequence[NewObject], metadata: Sequence[Mapping[str, str]]
    ) -> list[bool]: ...

    async def replace(self, new: NewObject) -> None:
        """Write an object, also over one of that key: readers find the old one or the new one.

        Durable when it returns. Idempotent; of several writers the last one wins.
        """
        check_key(new.key)
        metadata = ascii_metadata.encode(new.metadata)
        await self._threads.run(lambda: self._replace(new, metadata), size=len(new.data))

    @abstractmethod
    def _replace(self, new: NewObject, metadata: Mapping[str, str]) -> None: ...

    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Read bytes [start, end), fewer where the object ends before. Raises ObjectMissing."""
        check_key(key)
        if start < 0 or (end is not None and end < start):
            raise InvalidRequest(f"bytes {start} to {end} are no range")
        return await self._threads.run(lambda: self._get(key, start, end))

    async def head(self, key: str) -> ObjectInfo:
        """Describe an object without reading it. Raises ObjectMissing."""
        check_key(key)
        return await self._threads.run(lambda: self._head(key))

    async def list(self, prefix: str = "") -> list[str]:
        """List all keys that begin with ``prefix`` (it need not end at a slash), sorted."""
        _check_prefix(prefix)
        return await self._threads.run(lambda: sorted(self._list(prefix)))

    async def measure(self, prefix: str) -> int:
        """Count the bytes of all objects whose keys begin with ``prefix``."""
        _check_prefix(prefix)
        return await self._threads.run(lambda: sum(self._sizes(prefix)))

    async def delete(self, key: str) -> None:
        """Delete an object; idempotent."""
        check_key(key)
        await self._threads.run(lambda: self._delete(key))

    async def sweep(self, prefix: str, keep: str | None = None) -> int:
        """Delete what begins with ``prefix``: objects and unfinished uploads.

        All but ``keep``, and what lies beside it, under its key with a dot and more. Answers how
        many of either. Idempotent; an empty prefix is refused.
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
        """Make a URL to GET the object: presigned for ``expires`` seconds (7 days at most) on S3,
        ``file://`` of a folder. It does not check that there is such an object."""
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
        key, metadata = f"{folder}probe", {"probe": "é"}
        put = partial(self.put, key, b"probe", media_type="text/plain", metadata=metadata)
        try:
            await put()
            if await self.get(key) != b"probe" or (await self.head(key)).metadata != metadata:
                raise StoreDenied(f"{self.url} returns other bytes or metadata than were written")
        except (ObjectExists, ObjectMissing) as error:
            raise StoreDenied(f"{self.url} does not keep what is written: {error}") from error
        with suppress(ObjectExists):
            await put()
            raise StoreDenied(
                f"{self.url} overwrites objects; it must honour conditional writes (If-None-Match)"
            )
        await self._threads.run(lambda: self._probe_uploads(folder))
        # S3 says 403 instead of 404 to whom it does not let list.
        with suppress(ObjectMissing):
            await self.get(f"{folder}missing")

    async def close(self) -> None:
        """Wait for the calls under way; idempotent. The store takes no further call."""
        await self._threads.close()

    def local_path(self, key: str) -> Path | None:
        """Return the object as a file of this machine, to be read or linked; None for S3.

        Whether there is such an object is not looked at.
        """
        check_key(key)
        return None

    def _probe_uploads(self, folder: str) -> None:  # noqa: B027 # most stores need no probe
        """Try a long object below a folder, as far as that differs from a short one."""

    @abstractmethod
    def _renew(self) -> None:
        """Take new connections from now on: a call on the old ones hangs. Must not wait."""

    @abstractmethod
    def _mapping(self) -> AbstractContextManager[None]:
        """Foreign errors raised within become StoreErrors."""

    @abstractmethod
    def _get(self, key: str, start: int, end: int | None) -> bytes: ...

    @abstractmethod
    def _head(self, key: str) -> ObjectInfo: ...

    @abstractmethod
    def _list(self, prefix: str) -> Iterable[str]: ...

    @abstractmethod
    def _sizes(self, prefix: str) -> Iterable[int]: ...

    @abstractmethod
    def _delete(self, key: str) -> None: ...

    @abstractmethod
    def _sweep(self, prefix: str, keep: str | None) -> int: ...

    @abstractmethod
    def _upload(self, key: str, media_type: str, metadata: Mapping[str, str]) -> Upload: ...

    @abstractmethod
    def _link(self, key: str, expires: float) -> str: ...


def is_kept(key: str, keep: str | None) -> bool:
    """Tell whether a sweep that keeps the object ``keep`` keeps this one."""
    return keep is not None and (key == keep or key.startswith(f"{keep}."))


def is_hidden(name: str) -> bool:
    """Tell whether a file is a folder's own: metadata, or an object being written."""
    return name.startswith(".") and name.endswith((".meta", ".part"))


def check_key(key: str) -> None:
    """Raise InvalidRequest for a key that the strictest store refuses."""
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
