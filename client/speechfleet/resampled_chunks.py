"""Chunks of a job at the sample rate that their reader asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from speechfleet.audio.buffer import BYTES_PER_SAMPLE, AudioBuffer
from speechfleet.audio.resampling import Resampler, check_sample_rate
from speechfleet.chunks import Chunk, WordsEntry
from speechfleet.errors import InvalidRequest
from speechfleet.words import Word


async def resampled(
    chunks: AsyncGenerator[Chunk, None], sample_rate: int, *, accumulate: bool, linear: bool
) -> AsyncGenerator[Chunk, None]:
    """Yield the chunks of a stream at another rate. Raises InvalidRequest at the first one."""
    check_sample_rate(sample_rate)
    if not accumulate and not linear:
        raise InvalidRequest(
            "sample_rate= needs the audio before a rewind: say linear=True, or leave "
            "accumulate=False out"
        )
    at_rate = ResampledChunks(sample_rate, accumulate=accumulate)
    async with aclosing(chunks):
        async for chunk in chunks:
            if (taken := at_rate.take(chunk)) is not None:
                yield taken


class ResampledChunks:
    """Turns the chunks of one stream into chunks at another rate: audio, marks and words.

    ``accumulate``: as for `AsyncJob.stream`; without, the stream has to be linear.
    """

    def __init__(self, sample_rate: int, *, accumulate: bool) -> None:
        self._sample_rate = sample_rate
        self._resampler: Resampler | None = None
        self._buffer = AudioBuffer() if accumulate else None
        self._total = 0
        self._words: tuple[WordsEntry, ...] = ()
        self._words_at_rate: tuple[WordsEntry, ...] = ()

    def take(self, chunk: Chunk) -> Chunk | None:
        """Return the chunk at the wanted rate; None where it holds nothing new yet."""
        if self._resampler is None and chunk.sample_rate == self._sample_rate:
            self._total = chunk.total
            return chunk
        rewound = chunk.rewound and self._rewind(chunk)
        resampler = self._for(chunk.sample_rate)
        data = resampler.push(chunk.delta) if chunk.delta else b""
        if chunk.is_last:
            data += resampler.finish()
        words = chunk._words  # noqa: SLF001 # of this package
        # A chunk without audio tells words, or that a segment has ended.
        knows_more = not chunk.delta or chunk.marks or (words and words is not self._words)
        if not (data or rewound or chunk.is_last or knows_more):
            return None
        offset = self._total
        self._total += len(data)
        if self._buffer is not None:
            self._buffer.append(data)
        return replace(
            chunk,
            delta=data,
            offset=offset,
            total=self._total,
            sample_rate=self._sample_rate,
            rewound=rewound,
            marks=tuple(
                replace(mark, offset=resampler.offset(mark.offset)) for mark in chunk.marks
            ),
            _words=self._scaled(words, resampler),
            _snapshot=self._buffer.snapshot() if self._buffer is not None else None,
        )

    def _for(self, rate: int) -> Resampler:
        """Return the resampler of the stream's rate, which only a new epoch changes."""
        rate = rate or self._sample_rate
        if self._resampler is None or self._resampler.source_rate != rate:
            self._resampler = Resampler(rate, self._sample_rate)
        return self._resampler

    def _scaled(
        self, words: tuple[WordsEntry, ...], resampler: Resampler
    ) -> tuple[WordsEntry, ...]:
        """Return the words at the wanted rate, the same tuple while they are the same."""
        if words is not self._words:
            self._words = words
            self._words_at_rate = tuple(
                _WordsAtRate(
                    each.index, resampler.offset(each.offset), each.source, each.places, resampler
                )
                for each in words
            )
        return self._words_at_rate

    def _rewind(self, chunk: Chunk) -> bool:
        """Take back what the voided audio has shaped; True if any of it was handed out."""
        if self._resampler is None:
            return False
        start = max(0, chunk.offset - self._resampler.history * BYTES_PER_SAMPLE)
        history = chunk.audio[start : chunk.offset]
        void = self._resampler.rewind(chunk.offset // BYTES_PER_SAMPLE, history)
        before, self._total = self._total, void * BYTES_PER_SAMPLE
        if self._buffer is not None:
            self._buffer.truncate(self._total)
        return self._total < before


@dataclass(frozen=True)
class _WordsAtRate(WordsEntry):
    """The words of a segment, whose places in the audio are scaled when they are read."""

    resampler: Resampler

    def words(self) -> tuple[Word, ...]:
        offset = self.resampler.offset
        return tuple(
            replace(word, start=offset(word.start), end=offset(word.end))
            for word in super().words()
        )
