"""Read the words of a whole job from the segments in the store; find those that nobody told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from speechfleet.alignment.aligner import find_words
from speechfleet.audio import wav
from speechfleet.errors import ObjectMissing
from speechfleet.in_thread import in_thread
from speechfleet.record import StoredSegment
from speechfleet.segment_store import SegmentStore
from speechfleet.timeline import Timeline
from speechfleet.word_places import words_entry
from speechfleet.words import SegmentWords, Word

READS_AT_ONCE = 8
"""Segments whose words are read at a time."""
ALIGNED_AT_ONCE = 1
"""Segments that are aligned at a time: each keeps a core busy."""


@dataclass(frozen=True)
class FoundWords:
    """The words of a job, in the order of its text.

    ``ratios``: of the segments that were aligned, by index; see `SegmentWords.ratio`.
    """

    words: list[Word]
    ratios: dict[int, float] = field(default_factory=dict)


class JobWords:
    """Reads the words of the jobs of one namespace. For one event loop."""

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self._reading = asyncio.Semaphore(READS_AT_ONCE)
        self._aligning = asyncio.Semaphore(ALIGNED_AT_ONCE)

    async def of_job(self, timeline: Timeline, *, find: bool = True) -> FoundWords:
        """Return the words of a job's finished segments.

        ``find``: align, or estimate, those that the provider did not tell; what was aligned is
        stored for the next time. Raises StoreError.
        """
        segments = timeline.segments
        found = await asyncio.gather(
            *(self._of_segment(timeline, segment, find=find) for segment in segments)
        )
        ratios = {
            segment.index: words.ratio
            for segment, words in zip(segments, found, strict=True)
            if words is not None and words.ratio is not None
        }
        return FoundWords(
            [
                word
                for segment, words in zip(segments, found, strict=True)
                for word in _in_job(words, segment, timeline.text)
            ],
            ratios,
        )

    async def _of_segment(
        self, timeline: Timeline, segment: StoredSegment, *, find: bool
    ) -> SegmentWords | None:
        written = timeline.text[segment.text_start : segment.text_end]
        async with self._reading:
            words = await self._store.words(segment.hash)
            if find and not (words and words.places):
                words = await self._found(timeline, segment, words, written)
        return words

    async def _found(
        self, timeline: Timeline, segment: StoredSegment, stored: SegmentWords | None, written: str
    ) -> SegmentWords | None:
        """Align the words of a segment, or estimate them; None where its audio is gone."""
        if words := await self._store.found_words(segment.hash):
            return words
        text = stored.text if stored else written
        language = stored.language if stored else timeline.language
        try:
            audio = await self._store.read(segment.hash)
        except (ObjectMissing, ValueError):
            return None
        async with self._aligning:
            words = await in_thread(_find, text, language, audio)
        if words.source == "aligned":
            await self._store.keep_words(segment.hash, words)
        return words


def _find(text: str, language: str, audio: wav.Wav) -> SegmentWords:
    return find_words(text, language, audio.pcm, audio.sample_rate)


def _in_job(words: SegmentWords | None, segment: StoredSegment, text: str) -> tuple[Word, ...]:
    entry = words_entry(words, segment, text[segment.text_start : segment.text_end])
    return () if entry is None else entry.words()
