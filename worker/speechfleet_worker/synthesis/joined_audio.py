"""The audio of a job's segments as it is joined: at one rate, without a click at the edges."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from speechfleet.audio.codecs import Resampler
from speechfleet.record import Record
from speechfleet.segment_store import segment_hash
from speechfleet_worker.output.edges import EdgeFade
from speechfleet_worker.spoken_text import request_for
from speechfleet_worker.synthesis.look_ahead import InFlightSegment, SegmentSource

RESAMPLED_BYTES = 64 << 10
"""Bytes of PCM that are resampled in one go, on the loop."""


class JoinedAudio:
    """Yields the audio of segments as the stream has it. ``rate``: 0 until the first audio."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._request = record.request
        self.rate = record.sample_rate

    async def pieces(
        self, item: InFlightSegment, source: SegmentSource
    ) -> AsyncGenerator[bytes, None]:
        """Yield the segment's audio at the stream's rate, without a click at its edges."""
        fade: EdgeFade | None = None
        async with aclosing(self._at_stream_rate(item, source)) as pieces:
            async for pcm in pieces:
                fade = fade or EdgeFade(self.rate)
                if pcm := fade.feed(pcm):
                    yield pcm
        if fade is None:
            return
        if rest := fade.flush():
            yield rest
        if fade.is_changed:
            self._store_apart(item, "faded")

    async def _at_stream_rate(
        self, item: InFlightSegment, source: SegmentSource
    ) -> AsyncGenerator[bytes, None]:
        """Yield the segment's audio at the stream's rate, which the first audio decides."""
        resampler: Resampler | None = None
        async with aclosing(item.audio(merged=self._request.wire == "delta")) as pieces:
            async for piece in pieces:
                self.rate = self.rate or piece.sample_rate
                if resampler is None and piece.shape != (self.rate, 1):
                    resampler = Resampler(piece.sample_rate, self.rate, piece.channels)
                if resampler is None:
                    yield piece.pcm
                else:
                    for part in _slices(piece.pcm):
                        yield resampler.feed(part)
                source.fill()
        if resampler is not None:
            yield resampler.flush()
            # What others reuse is at the model's own rate, which this need not be.
            item.spoken.is_stored |= bool(self._record.turns)
            self._store_apart(item, f"rate={self.rate}")

    def _store_apart(self, item: InFlightSegment, change: str) -> None:
        """Let the record name the audio as the stream has it: readers change nothing.

        Stored audio that was changed gets an object of its own, under another hash.
        """
        if not item.spoken.is_stored:
            return
        item.spoken.hash = segment_hash(
            self._record.namespace,
            request_for(self._request, item.segment),
            item.spoken_text,
            f"{change}{item.segment.salt}",
            rendering=item.spoken.rendering,
        )
        item.spoken.is_stored = False


def _slices(pcm: bytes) -> Iterator[memoryview]:
    view = memoryview(pcm)
    for start in range(0, len(view), RESAMPLED_BYTES):
        yield view[start : start + RESAMPLED_BYTES]
