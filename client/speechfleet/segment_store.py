"""Finished segments in the object store: checkpoint of a take-over and cache of a corpus.

A segment's audio lies, losslessly, under the hash of all that shapes it. The same text spoken
by the same model with the same voice and options is never paid for twice in a namespace.

An object here is the audio as WAV, or a note: JSON that names the audio object of a job whose
only segment this is. The first byte tells which. Nobody else reads or writes these objects.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any

from speechfleet.audio import wav
from speechfleet.errors import ObjectMissing
from speechfleet.request import Request
from speechfleet.store import Store, layout
from speechfleet.store.base import NewObject
from speechfleet.words import SegmentWords

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/octet-stream"
"""Media type of both kinds of objects: the default for a key without a suffix."""
_FIRST_BYTE_OF_NOTES = b"{"


def segment_hash(
    namespace: str, request: Request, text: str, salt: str = "", *, rendering: str = ""
) -> str:
    """Hash all that shapes a segment's audio. ``salt`` keeps others from reusing it.

    ``rendering``: what shapes it beside the request, such as the release of a voice.
    """
    parts = [namespace, request.model, request.voice, request.options_json, text, salt]
    if rendering:
        parts.append(rendering)
    joined = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=20).hexdigest()


class SegmentStore:
    """The stored segments of one namespace."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace

    async def load(self, hash: str) -> wav.Wav | None:
        """Return the audio; None where it is not stored, or cannot be read."""
        try:
            return await self.read(hash)
        except ObjectMissing:
            return None
        except ValueError as error:
            log.warning("segment %s cannot be read and is spoken again: %s", hash, error)
            return None

    async def read(self, hash: str) -> wav.Wav:
        """Return the audio. Raises ObjectMissing; ValueError where it cannot be read."""
        data = await self._store.get(self._key(hash))
        try:
            return await self._decode(data)
        except ObjectMissing:
            # A note that is replaced names another object before its first one is deleted.
            replaced = await self._store.get(self._key(hash))
            if replaced == data:
                raise
            return await self._decode(replaced)

    async def _decode(self, data: bytes) -> wav.Wav:
        if data[:1] != _FIRST_BYTE_OF_NOTES:
            return wav.decode(data)
        note = _Note.decode(data)
        return wav.Wav(await _pcm(self._store, note.object), note.sample_rate, 1, note.words)

    async def words(self, hash: str) -> SegmentWords | None:
        """Return the words, without reading the audio; None where none are stored.

        Raises StoreError.
        """
        key = self._key(hash)
        try:
            beginning = await self._store.get(key, 0, wav.HEADER_BYTES)
            if beginning[:1] == _FIRST_BYTE_OF_NOTES:
                return _Note.decode(await self._store.get(key)).words
            header = wav.stream_header(beginning)
            if header is None or header.size is None:
                return None
            behind = await self._store.get(key, header.start + header.size)
            return wav.decode_words(behind)
        except (ObjectMissing, ValueError) as error:
            log.warning("the words of segment %s cannot be read: %s", hash, error)
            return None

    async def found_words(self, hash: str) -> SegmentWords | None:
        """Return the words that were found later, see `keep_words`. Raises StoreError."""
        try:
            data = await self._store.get(layout.words_object(self._namespace, hash))
            return SegmentWords.decode(data)
        except (ObjectMissing, ValueError):
            return None

    async def keep_words(self, hash: str, words: SegmentWords) -> None:
        """Store the words of a segment beside it, unless it was deleted meanwhile. Idempotent."""
        key = layout.words_object(self._namespace, hash)
        await self._store.put_all([NewObject(key, words.encode(), MEDIA_TYPE)])
        try:
            await self._store.head(self._key(hash))
        except ObjectMissing:
            await self._store.delete(key)

    async def is_stored(self, hash: str) -> bool:
        """Tell if `load` would return audio, without reading all of it."""
        key = self._key(hash)
        try:
            if await self._store.get(key, 0, 1) == _FIRST_BYTE_OF_NOTES:
                note = _Note.decode(await self._store.get(key))
                await self._store.head(note.object)
        except (ObjectMissing, ValueError):
            return False
        return True

    async def save(
        self, hash: str, pcm: bytes, rate: int, words: SegmentWords | None = None
    ) -> None:
        """Store the audio. Idempotent: what is stored already stays, it speaks the same text."""
        data = wav.encode(pcm, rate, 1, words)
        await self._put(NewObject(self._key(hash), data, MEDIA_TYPE))

    async def refer(
        self, hash: str, object: str, rate: int, words: SegmentWords | None = None
    ) -> None:
        """Store a note that the audio is the job's audio object, which is there already."""
        await self._put(self.note(hash, object, rate, words))

    def note(
        self, hash: str, object: str, rate: int, words: SegmentWords | None = None
    ) -> NewObject:
        """Return what `refer` stores."""
        note = _Note(object, rate, words)
        return NewObject(self._key(hash), note.encode(), MEDIA_TYPE)

    async def put(self, object: NewObject) -> None:
        """Store an object that belongs to segments, unless its key is taken."""
        await self._store.put_all([object])

    async def move_note(
        self, hash: str, object: str, rate: int, words: SegmentWords | None = None
    ) -> None:
        """Let a segment lie in another audio object; at no moment is it without any. Idempotent.

        Do it before the object is deleted that it lies in.
        """
        await self._store.replace(self.note(hash, object, rate, words))

    async def detach(self, hash: str, prefix: str) -> None:
        """Give a segment an object of its own, where it lies in one below ``prefix``.

        At no moment is it without any. Idempotent.
        """
        key = self._key(hash)
        try:
            data = await self._store.get(key)
            if data[:1] != _FIRST_BYTE_OF_NOTES:
                return
            if not _Note.decode(data).object.startswith(prefix):
                return
            stored = await self._decode(data)
        except (ObjectMissing, ValueError):
            return  # nobody can read it any more
        whole = wav.encode(bytes(stored.pcm), stored.sample_rate, stored.channels, stored.words)
        await self._store.replace(NewObject(key, whole, MEDIA_TYPE))

    async def delete(self, hash: str) -> None:
        """Delete a segment that no record names; idempotent."""
        await self._store.delete(self._key(hash))
        await self._store.delete(layout.words_object(self._namespace, hash))

    def _key(self, hash: str) -> str:
        return layout.segment_object(self._namespace, hash)

    async def _put(self, segment: NewObject) -> None:
        if (await self._store.put_all([segment]))[0]:
            return
        if await self.load(segment.key.rpartition("/")[2]) is None:
            # A note whose object was deleted with its job, or a broken object.
            await self._store.replace(segment)


async def read_segment(store: Store, namespace: str, hash: str) -> wav.Wav:
    """Return a stored segment's audio. Raises ObjectMissing; ValueError as `SegmentStore.read`."""
    return await SegmentStore(store, namespace).read(hash)


@dataclass(frozen=True)
class _Note:
    """A reference to the audio object, PCM or WAV, of a job whose only segment this is."""

    object: str
    sample_rate: int
    words: SegmentWords | None = None

    @classmethod
    def decode(cls, data: bytes) -> _Note:
        """Read a note. Raises ValueError."""
        try:
            fields: dict[str, Any] = json.loads(data)
            timings = fields.get("timings")
            words = None if timings is None else SegmentWords.decode(timings.encode())
            return cls(str(fields["object"]), int(fields["sample_rate"]), words)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no note about a segment: {error!r}") from None

    def encode(self) -> bytes:
        fields = {"object": self.object, "sample_rate": self.sample_rate}
        if self.words is not None:
            fields["timings"] = self.words.encode().decode()
        return json.dumps(fields).encode()


async def _pcm(store: Store, key: str) -> bytes:
    data = await store.get(key)
    return bytes(wav.decode(data).pcm) if data[:4] == b"RIFF" else data
