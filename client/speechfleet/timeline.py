"""The timeline of a job: its text and the places of its segments, which words are found by.

A record expires, the audio stays. So a worker stores the timeline beside the audio object, or
names the segment in the object's metadata where that is all there is to say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.errors import ObjectMissing
from speechfleet.record import Record, StoredSegment
from speechfleet.segment_store import SegmentStore
from speechfleet.store import Store, layout
from speechfleet.store.base import NewObject, ObjectInfo

SEGMENT = "segment"
"""The metadata of an audio object whose only segment speaks the whole text: its hash."""
TEXT_HASH = "text-hash"
"""The metadata of an audio object whose text is known when it is begun."""


@dataclass(frozen=True)
class Timeline:
    """The text of a job, its language (a tag, or ""), and its finished segments in order."""

    text: str
    language: str
    sample_rate: int
    segments: tuple[StoredSegment, ...]

    @classmethod
    def of(cls, record: Record, segments: Sequence[StoredSegment]) -> Timeline:
        """Return the timeline of a job whose record is still there."""
        request = record.request
        return cls(request.text, request.language, record.sample_rate, tuple(segments))

    def beside(self, audio: str) -> NewObject:
        """Return the object that keeps it beside the audio of this key."""
        fields = {
            "text": self.text,
            "language": self.language,
            "sample_rate": self.sample_rate,
            "segments": [json.loads(segment.encode()) for segment in self.segments],
        }
        data = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        return NewObject(layout.timeline_object(audio), data, "application/json")

    @classmethod
    def decode(cls, data: bytes) -> Timeline:
        """Read what `beside` wrote. Raises ValueError."""
        try:
            fields: dict[str, Any] = json.loads(data)
            segments = tuple(StoredSegment(*segment) for segment in fields["segments"])
            text, language = str(fields["text"]), str(fields["language"])
            return cls(text, language, int(fields["sample_rate"]), segments)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no timeline of a job: {error!r}") from None


def text_hash(text: str) -> str:
    """Hash the text of a job, for the metadata of its audio."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


async def stored_timeline(store: Store, namespace: str, id: str) -> Timeline | None:
    """Read the timeline of a job whose record is gone; None where nothing tells it.

    Raises StoreError; ValueError where it cannot be read.
    """
    keys = await store.list(layout.objects_of(namespace, id))
    for key in keys:
        if layout.timeline_object(key) in keys:
            return Timeline.decode(await store.get(layout.timeline_object(key)))
    for key in keys:
        if timeline := await _of_only_segment(store, namespace, await store.head(key)):
            return timeline
    return None


async def _of_only_segment(store: Store, namespace: str, audio: ObjectInfo) -> Timeline | None:
    hash = audio.metadata.get(SEGMENT, "")
    if not hash:
        return None
    segments = SegmentStore(store, namespace)
    words = await segments.words(hash)
    if words is None or text_hash(words.text) != audio.metadata.get(TEXT_HASH):
        return None
    try:
        stored = await segments.read(hash)
    except ObjectMissing:
        return None
    size = len(stored.pcm) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
    segment = StoredSegment(0, 0, size, 0, len(words.text), hash)
    return Timeline(words.text, words.language, stored.sample_rate, (segment,))
