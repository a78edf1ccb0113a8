"""Save the segments of one execution, and delete again what no record names."""

from __future__ import annotations

import asyncio
from functools import partial

from speechfleet.ledger import Lease
from speechfleet.segment_store import SegmentStore
from speechfleet.store.base import NewObject
from speechfleet.words import SegmentWords
from speechfleet_worker.output.audio_object import StoreRetry


class SegmentSaver:
    """Remember every segment that was saved, until the record names it.

    A put goes on in its thread when its job is cancelled: what it writes after that is deleted
    by `delete_unnamed`, unless another job uses it.
    """

    def __init__(self, segments: SegmentStore, retry: StoreRetry, lease: Lease) -> None:
        self._segments = segments
        self._retry = retry
        self._lease = lease
        self._unnamed: dict[str, asyncio.Future[None] | None] = {}

    async def save(
        self, hash: str, pcm: bytes, rate: int, words: SegmentWords | None = None
    ) -> None:
        """Store a segment's audio. Raises StoreError, LeaseLost."""
        await self._lease.begin(hash)

        async def put() -> None:
            saving = asyncio.ensure_future(self._segments.save(hash, pcm, rate, words))
            saving.add_done_callback(_retrieve)
            self._unnamed[hash] = saving
            await asyncio.shield(saving)

        await self._retry(put)

    async def put(self, object: NewObject) -> None:
        """Store an object, unless an earlier try did. Raises StoreError."""
        await self._retry(lambda: self._segments.put(object))

    def note(
        self, hash: str, object: str, rate: int, words: SegmentWords | None = None
    ) -> NewObject:
        """Make the note that a segment lies in an audio object; the caller stores it."""
        self._unnamed.setdefault(hash, None)
        return self._segments.note(hash, object, rate, words)

    async def refer(
        self, hash: str, object: str, rate: int, words: SegmentWords | None = None
    ) -> None:
        """Store that note, also over one whose object is gone. Raises StoreError."""
        await self._retry(lambda: self._segments.refer(hash, object, rate, words))

    async def move_note(
        self, hash: str, object: str, rate: int, words: SegmentWords | None = None
    ) -> None:
        """Let a stored segment lie in another audio object. Raises StoreError."""
        await self._retry(lambda: self._segments.move_note(hash, object, rate, words))

    def named(self, hash: str) -> None:
        """Keep the segment: the record names it now."""
        self._unnamed.pop(hash, None)

    async def delete_unnamed(self) -> None:
        """Delete the segments that neither this job's record nor another one names."""
        puts = [put for put in self._unnamed.values() if put is not None]
        if puts:
            await asyncio.wait(puts)
        hashes, self._unnamed = list(self._unnamed), {}
        for hash in await self._lease.unused(hashes):
            await self._retry(partial(self._segments.delete, hash))


def _retrieve(put: asyncio.Future[None]) -> None:
    """Retrieve an error that nobody waits for, so that the loop does not log it."""
    if not put.cancelled():
        put.exception()
