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
from speechfleet_worker.synthesis.model_driver import AudioPiece

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
        resampler: Resampler | None = None
        async with aclosing(item.audio(merged=self._request.wire == "delta")) as pieces:
            async for piece in pieces:
                self.rate = self.rate or piece.sample_rate
                if resampler is None and piece.shape != (self.rate, 1):
                    resampler = Resampler(piece.sample_rate, self.rate, piece.channels)
                fade = fade or EdgeFade(self.rate)
                parts = [piece.pcm] if resampler is None else map(resampler.feed, _slices(piece))
                for part in parts:
                    if pcm := fade.feed(part):
                        yield pcm
                source.fill()
        if fade is None:
            return
        if pcm := (fade.feed(resampler.flush()) if resampler else b"") + fade.flush():
            yield pcm
        if resampler is not None:
            # What others reuse is at the model's own rate, which this need not be.
            item.spoken.is_stored |= bool(self._record.turns)
            self._store_apart(item, f"rate={self.rate}")
        if fade.is_changed:
            self._store_apart(item, "faded")

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


def _slices(piece: AudioPiece) -> Iterator[memoryview]:
    view = memoryview(piece.pcm)
    for start in range(0, len(view), RESAMPLED_BYTES):
        yield view[start : start + RESAMPLED_BYTES]
