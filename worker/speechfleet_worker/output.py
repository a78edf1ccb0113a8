"""A job's audio object: encoded while it is spoken, stored under a key that holds the token."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from speechfleet import keys
from speechfleet.audio import FORMATS, Encoder
from speechfleet.errors import ObjectExists, StoreDenied, StoreUnavailable
from speechfleet.jobs import Lane, Request
from speechfleet.ledger import Lease
from speechfleet.store import Store, Upload
from speechfleet.store.base import NewObject

log = logging.getLogger(__name__)
T = TypeVar("T")

IN_MEMORY = 1 << 20
"""Bytes of an encoded object up to which it is one put at the end."""
FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0
DENIED_FOR = 60.0
"""Seconds for which a denial is taken for a passing one (a mount that went, a key that turns):
what was spoken is paid for. A wrong setting is found when the worker starts."""


class Patience:
    """Tries an operation of the store again for as long as a job may wait for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(self, operation: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        began, wait = loop.time(), FIRST_WAIT
        while True:
            try:
                return await operation()
            except (StoreUnavailable, StoreDenied) as error:
                denied = isinstance(error, StoreDenied)
                patience = min(self._seconds, DENIED_FOR) if denied else self._seconds
                if loop.time() + wait > began + patience:
                    raise
                log.warning("the object store refuses, waiting: %s", error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)


@dataclass(frozen=True)
class Stored:
    """What was stored: ``bytes`` of the object, ``duration_ms`` of its audio; ``beside``:
    whether what was to lie beside it was written, too.
    """

    key: str
    media_type: str
    bytes: int
    duration_ms: int
    beside: bool


class Output:
    """Takes PCM in order; `commit` stores the object, `abort` leaves nothing behind."""

    def __init__(
        self,
        store: Store,
        patience: Patience,
        key: str,
        *,
        format: str,
        sample_rate: int,
        metadata: Mapping[str, str],
    ) -> None:
        self._store = store
        self._patient = patience
        self.key = key
        self._rate = sample_rate
        self._encoder = Encoder(format, sample_rate)
        self._threaded = format not in ("wav", "pcm")
        self._media_type = FORMATS[format].media_type
        if format == "pcm":
            self._media_type = f"audio/pcm;rate={sample_rate}"
        self._metadata = dict(metadata)
        self._held: list[bytes] = []
        self._held_size = 0
        self._size = 0
        self._pcm = 0
        self._upload: Upload | None = None
        self._step: asyncio.Future[list[bool]] | None = None

    async def write(self, parts: Sequence[bytes]) -> None:
        """PCM in any number of parts, in order."""
        self._pcm += sum(map(len, parts))
        if self._threaded:
            self._hold(await asyncio.to_thread(self._encode, parts))
        else:
            self._hold(self._encode(parts))
        if self._held_size < IN_MEMORY:
            return
        if self._upload is None:
            self._upload = self._store.upload(
                self.key, media_type=self._media_type, metadata=self._metadata
            )
        upload, held = self._upload, b"".join(self._held)
        await self._patient(lambda: upload.write(held))
        self._held.clear()
        self._held_size = 0

    def _encode(self, parts: Sequence[bytes]) -> bytes:
        return self._encoder.write(b"".join(parts))

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)
        self._size += len(data)

    async def commit(self, beside: NewObject | None = None) -> Stored:
        """Store what was written, then what shall lie ``beside`` it, unless its key is taken.
        Raises StoreError; the audio stays until it is stored.
        """
        if self._threaded:
            tail, patches = await asyncio.to_thread(self._encoder.finish)
        else:
            tail, patches = self._encoder.finish()
        self._hold(tail)
        duration_ms = round(self._pcm / 2 / self._rate * 1000)
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
                await self._patient(lambda: upload.write(rest))
            for offset, patch in patches:
                await self._patient(partial(upload.patch_head, offset, patch))
            await self._patient(lambda: _unless_there(upload.commit(metadata)))
        return Stored(self.key, self._media_type, self._size, duration_ms, written)

    async def _put(self, objects: Sequence[NewObject]) -> bool:
        """Whether the last of them was written."""

        async def put() -> bool:
            # A key of audio that is taken holds this execution's token: it is an earlier try's.
            self._step = asyncio.ensure_future(self._store.put_all(objects))
            return (await asyncio.shield(self._step))[-1]

        return await self._patient(put)

    async def abort(self) -> None:
        """Leave nothing behind, also of a put that was cancelled half-way: it goes on."""
        self._encoder.close()
        if self._step is not None:
            await asyncio.wait([self._step])
            await self._store.delete(self.key)
        if self._upload is not None:
            await self._upload.abort()


async def _unless_there(write: Awaitable[None]) -> None:
    """A key that is written already holds this execution's token: it is an earlier try's."""
    with contextlib.suppress(ObjectExists):
        await write


def open_output(
    store: Store, patience: Patience, lease: Lease, request: Request, sample_rate: int
) -> Output:
    """The object of one execution; its key cannot be another's."""
    job = lease.job
    extension = FORMATS[request.format].extension
    return Output(
        store,
        patience,
        keys.audio_object(job.namespace, job.id, lease.token, extension),
        format=request.format,
        sample_rate=sample_rate,
        metadata={
            "msg-id": job.id,
            "namespace": job.namespace,
            "model": request.model,
            "voice": request.voice,
            # Of a session not even the worker knows the text yet.
            **({} if request.lane is Lane.SESSION else {"text-hash": _text_hash(request.text)}),
        },
    )


def _text_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
