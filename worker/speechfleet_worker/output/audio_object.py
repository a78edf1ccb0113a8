"""Encode a job's audio object while it is spoken, and store it under a key of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from speechfleet.audio.codecs import EncoderTask
from speechfleet.audio.formats import FORMATS
from speechfleet.errors import ObjectExists, StoreDenied, StoreUnavailable
from speechfleet.ledger import Lease
from speechfleet.request import Lane, Request
from speechfleet.store import Store, Upload, layout
from speechfleet.store.base import NewObject
from speechfleet.timeline import TEXT_HASH, text_hash

log = logging.getLogger(__name__)
T = TypeVar("T")

IN_MEMORY_BYTES = 1 << 20
"""Bytes of an encoded object up to which it is one put at the end."""
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
DENIED_PATIENCE_S = 60.0
"""Seconds for which an operation that the store denies is tried again. The cause may pass (a
mount that is away, a key that is replaced), and the audio is paid for. A wrong setting is found
when the worker starts."""


class StoreRetry:
    """Try an operation of the store again, for as long as a job may wait for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(self, operation: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        began, wait = loop.time(), FIRST_WAIT_S
        while True:
            try:
                return await operation()
            except (StoreUnavailable, StoreDenied) as error:
                denied = isinstance(error, StoreDenied)
                patience = min(self._seconds, DENIED_PATIENCE_S) if denied else self._seconds
                if loop.time() + wait > began + patience:
                    raise
                log.warning("the object store refuses, waiting: %s", error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)


@dataclass(frozen=True)
class Stored:
    """A stored object: its ``bytes``, and ``duration_ms`` of its audio.

    ``beside``: the object that was to lie beside it was written, too. ``gain``: in dB, where it
    was brought to a loudness.
    """

    key: str
    media_type: str
    bytes: int
    duration_ms: int
    beside: bool
    gain: float | None = None


class ObjectInProgress(Protocol):
    """An audio object that is being written; see `AudioObject`."""

    @property
    def key(self) -> str:
        """Return the key that it will have."""

    async def write(self, parts: Sequence[bytes]) -> None:
        """Take PCM, given in any number of parts."""

    def describe(self, name: str, value: str) -> None:
        """Add to the object's metadata, before it is stored."""

    async def commit(self, beside: NewObject | None = None) -> Stored:
        """Store the object. Raises StoreError."""

    async def abort(self) -> None:
        """Leave nothing behind."""


class AudioObject:
    """Encode PCM in order; `commit` stores the object, `abort` leaves nothing behind."""

    def __init__(
        self,
        store: Store,
        retry: StoreRetry,
        key: str,
        *,
        format: str,
        sample_rate: int,
        metadata: Mapping[str, str],
    ) -> None:
        self._store = store
        self._retry = retry
        self._key = key
        self._sample_rate = sample_rate
        self._encoder = EncoderTask(format, sample_rate, tenant=metadata.get("namespace", ""))
        self._media_type = FORMATS[format].media_type_at(sample_rate)
        self._metadata = dict(metadata)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._encoded_bytes = 0
        self._pcm_bytes = 0
        self._upload: Upload | None = None
        self._step: asyncio.Future[list[bool]] | None = None

    @property
    def key(self) -> str:
        """Return the object's key."""
        return self._key

    async def write(self, parts: Sequence[bytes]) -> None:
        """Encode PCM, given in any number of parts."""
        self._pcm_bytes += sum(map(len, parts))
        self._hold(await self._encoder.feed(b"".join(parts)))
        if self._held_bytes < IN_MEMORY_BYTES:
            return
        if self._upload is None:
            self._upload = self._store.upload(
                self.key, media_type=self._media_type, metadata=self._metadata
            )
        upload, held = self._upload, b"".join(self._held)
        await self._retry(lambda: upload.write(held))
        self._held.clear()
        self._held_bytes = 0

    def describe(self, name: str, value: str) -> None:
        """Add to the object's metadata, before it is stored."""
        self._metadata[name] = value

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        self._encoded_bytes += len(data)

    async def commit(self, beside: NewObject | None = None) -> Stored:
        """Store the object, then another one ``beside`` it unless that key is taken.
        Raises StoreError; the audio stays until it is stored.
        """
        tail, patches = await self._encoder.finish()
        self._hold(tail)
        duration_ms = round(self._pcm_bytes / 2 / self._sample_rate * 1000)
        metadata = {**self._metadata, "duration-ms": str(duration_ms)}
        upload, written = self._upload, False
        if upload is None:
            data = bytearray().join(self._held)
            for offset, patch in patches:
                data[offset : offset + len(patch)] = patch
            audio = NewObject(self.key, data, self._media_type, metadata)
            written = await self._put([audio] if beside is None else [audio, beside])
        else:
            rest = b"".join(self._held)
            if rest:
                await self._retry(lambda: upload.write(rest))
            for offset, patch in patches:
                await self._retry(partial(upload.patch_head, offset, patch))
            await self._retry(lambda: _unless_there(upload.commit(metadata)))
        return Stored(self.key, self._media_type, self._encoded_bytes, duration_ms, written)

    async def _put(self, objects: Sequence[NewObject]) -> bool:
        """Write the objects; tell whether the last one was new."""

        async def put() -> bool:
            # A key of audio that is taken holds this execution's token: it is an earlier try's.
            self._step = asyncio.ensure_future(self._store.put_all(objects))
            self._step.add_done_callback(_retrieve)
            return (await asyncio.shield(self._step))[-1]

        return await self._retry(put)

    async def abort(self) -> None:
        """Leave nothing behind; a put that was cancelled half-way is waited for and undone."""
        self._encoder.close()
        if self._step is not None:
            await asyncio.wait([self._step])
            await self._store.delete(self.key)
        if self._upload is not None:
            await self._upload.abort()


def _retrieve(step: asyncio.Future[list[bool]]) -> None:
    """Retrieve an error that nobody waits for, so that the loop does not log it."""
    if not step.cancelled():
        step.exception()


async def _unless_there(write: Awaitable[None]) -> None:
    """Accept a taken key: it holds this execution's token, so an earlier try wrote it."""
    with contextlib.suppress(ObjectExists):
        await write


def open_audio_object(
    store: Store, retry: StoreRetry, lease: Lease, request: Request, sample_rate: int
) -> AudioObject:
    """Open the object of one execution; no other one has its key."""
    job = lease.job
    extension = FORMATS[request.format].extension
    return AudioObject(
        store,
        retry,
        layout.audio_object(job.namespace, job.id, lease.token, extension),
        format=request.format,
        sample_rate=sample_rate,
        metadata={
            "msg-id": job.id,
            "namespace": job.namespace,
            "model": request.model,
            "voice": request.voice,
            # Of a session not even the worker knows the text yet.
            **({} if request.lane is Lane.SESSION else {TEXT_HASH: text_hash(request.text)}),
        },
    )
