"""Finished segments in the object store: checkpoint of a take-over and cache of a corpus.

A segment's audio lies, losslessly, under the hash of all that shapes it. The same text spoken
by the same model with the same voice and options is never paid for twice in a namespace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from speechfleet import keys, wav
from speechfleet.errors import ObjectMissing
from speechfleet.jobs import Request
from speechfleet.reader import read_segment
from speechfleet.store import Store
from speechfleet.store.base import NewObject

Words = Sequence[tuple[int, int, int]]

MEDIA_TYPE = "application/octet-stream"
"""WAV or a note, as the first byte tells: a key that names no type costs no metadata."""


def segment_hash(namespace: str, request: Request, text: str, salt: str = "") -> str:
    """``salt`` sets a segment apart that nobody else may reuse."""
    parts = (namespace, request.model, request.voice, request.options_json, text, salt)
    joined = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=20).hexdigest()


class SegmentStore:
    """The segments of one namespace."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace

    async def load(self, hash: str) -> wav.Wav | None:
        """The audio, or None where it is not stored."""
        try:
            return await read_segment(self._store, self._namespace, hash)
        except ObjectMissing:
            return None

    async def save(self, hash: str, pcm: bytes, rate: int, words: Words) -> None:
        """Idempotent: what is stored already stays, it speaks the same text."""
        data = wav.encode(pcm, rate, 1, words)
        await self._put(NewObject(self._key(hash), data, MEDIA_TYPE))

    async def refer(self, hash: str, object: str, rate: int, words: Words) -> None:
        """A job's only segment lies in its audio object already: note where."""
        await self._put(self.note(hash, object, rate, words))

    def note(self, hash: str, object: str, rate: int, words: Words) -> NewObject:
        """What `refer` stores."""
        note = {"object": object, "sample_rate": rate, "words": [list(word) for word in words]}
        return NewObject(self._key(hash), json.dumps(note).encode(), MEDIA_TYPE)

    def _key(self, hash: str) -> str:
        return keys.segment_object(self._namespace, hash)

    async def _put(self, segment: NewObject) -> None:
        if (await self._store.put_all([segment]))[0]:
            return
        if await self.load(segment.key.rpartition("/")[2]) is None:
            # A note whose object was deleted with its job: it is replaced.
            await self._store.delete(segment.key)
            await self._store.put_all([segment])
