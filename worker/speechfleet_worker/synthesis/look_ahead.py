"""Speak the segments of a job a few at a time, and hand them on in order."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.tts import TTSUsage
from speechfleet.words import SegmentWords, WordSource
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis.model_driver import AudioPiece
from speechfleet_worker.synthesis.word_times import stored_words

MERGED_BYTES = 16 << 10
"""Bytes up to which pieces that wait are merged into one."""


@dataclass
class Spoken:
    """The result of a segment's call, as far as it came.

    ``is_stored``: the audio came from the segment store. ``cached``: it came from there, and no
    attempt of this job paid for it. ``is_counted``: an earlier attempt of this job has counted
    the call that spoke it.
    ``rendering``, ``by``: what the model says of the text, see `ProviderModel`.
    ``is_called``: a provider was called. ``words``: with times in this audio, as far as they
    are known.
    """

    hash: str
    cached: bool = False
    is_stored: bool = False
    is_called: bool = False
    is_counted: bool = False
    rendering: str = ""
    by: tuple[str, ...] = ()
    usage: TTSUsage | None = None
    request_id: str = ""
    words: tuple[SpokenWord, ...] = ()
    word_source: WordSource = "provider"
    language: str = ""


@dataclass
class InFlightSegment:
    """A segment that is being spoken; its pieces wait here for their turn.

    ``turn`` is set once all segments before it are recorded; ``changed_text`` is what hooks
    made of the segment's text, if they did.
    """

    segment: TextSegment
    is_last: bool
    spoken: Spoken
    task: asyncio.Task[None] | None = None
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    changed_text: str | None = None
    is_touched: bool = False
    """Set once some of its audio was handed on."""
    _pieces: deque[AudioPiece] = field(default_factory=deque)
    _waiter: asyncio.Future[None] | None = None

    def begin(self, call: Coroutine[Any, Any, None]) -> None:
        """Start the call that gives the audio."""
        self.task = asyncio.create_task(call)
        self.task.add_done_callback(lambda _: self.notify())

    @property
    def spoken_text(self) -> str:
        """Return the text that the provider is given."""
        return self.segment.text if self.changed_text is None else self.changed_text

    def stored_words(self, rate: int, size: int) -> SegmentWords:
        """Return the words as they are stored with ``size`` bytes of audio at ``rate``.

        Text and language are in it also where no times are known: they may be found later.
        """
        return stored_words(
            self.spoken.words,
            source=self.spoken.word_source,
            text=self.spoken_text,
            language=self.spoken.language,
            rate=rate,
            frames=size // BYTES_PER_SAMPLE,
        )

    @property
    def is_complete(self) -> bool:
        """Tell whether the call came to its end without an error."""
        task = self.task
        if task is None or not task.done() or task.cancelled():
            return False
        return task.exception() is None

    def untouched_audio(self) -> list[AudioPiece]:
        """Return the audio if it is complete and no piece was handed on; else nothing."""
        return list(self._pieces) if self.is_complete and not self.is_touched else []

    def give(self, piece: AudioPiece) -> None:
        """Add the next piece, from the call."""
        self._pieces.append(piece)
        self.notify()

    def notify(self) -> None:
        """Let the consumer look for audio again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def audio(self, *, merged: bool) -> AsyncGenerator[AudioPiece, None]:
        """Yield the pieces in order, then raise what the call raised.

        ``merged``: join small pieces that came while the last one was published, up to
        `MERGED_BYTES`, so that a model far faster than real time costs the stream little.
        """
        assert self.task is not None
        self.is_touched = True
        loop = asyncio.get_running_loop()
        while True:
            while self._pieces:
                yield self._take(MERGED_BYTES if merged else 0)
            if self.task.done():
                break
            self._waiter = loop.create_future()
            await self._waiter
        await self.task

    def _take(self, limit: int) -> AudioPiece:
        first = self._pieces.popleft()
        if not self._pieces:
            return first
        parts, size = [first.pcm], len(first.pcm)
        while self._pieces and size + len(self._pieces[0].pcm) <= limit:
            if self._pieces[0].shape != first.shape:
                break
            parts.append(self._pieces.popleft().pcm)
            size += len(parts[-1])
        return first._replace(pcm=b"".join(parts)) if len(parts) > 1 else first


Speak = Callable[[InFlightSegment], Coroutine[Any, Any, None]]


class SegmentSource(ABC):
    """Run ``speak`` for up to ``ahead`` segments beyond the one that is being consumed.

    Use it as an async context manager: leaving cancels every call that is under way; `left`
    then holds the segments that were begun and not consumed to their end.
    """

    def __init__(self, speak: Speak, ahead: int) -> None:
        self._speak = speak
        self._width = ahead + 1
        self._under_way: deque[InFlightSegment] = deque()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [item.task for item in self._under_way if item.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Begin no further segment: those under way are the last ones of this run."""
        self._is_closed = True

    @property
    def left(self) -> list[InFlightSegment]:
        """List the segments under way, beginning with the one that is being consumed."""
        return list(self._under_way)

    @abstractmethod
    def __aiter__(self) -> AsyncGenerator[InFlightSegment, None]:
        """Yield the segments in order, while they are being spoken."""

    @abstractmethod
    def fill(self) -> None:
        """Begin further segments, once the current one gives audio."""

    def _begin(self, segment: TextSegment, *, is_last: bool) -> None:
        item = InFlightSegment(segment, is_last, Spoken(""))
        item.begin(self._speak(item))
        self._under_way.append(item)


class LookAhead(SegmentSource):
    """Speak the segments of a complete text."""

    def __init__(self, segments: Iterator[TextSegment], speak: Speak, ahead: int) -> None:
        super().__init__(speak, ahead)
        self._segments = segments
        self._next = next(segments, None)

    async def __aiter__(self) -> AsyncGenerator[InFlightSegment, None]:
        # The first call starts alone: cutting on ahead must not hold back the first audio.
        self._start()
        while self._under_way:
            self._under_way[0].turn.set()
            yield self._under_way[0]
            self._under_way.popleft()
            self._start()

    def fill(self) -> None:
        while len(self._under_way) < self._width and self._start():
            pass

    def _start(self) -> bool:
        segment = self._next
        if segment is None or self._is_closed:
            return False
        self._next = next(self._segments, None)
        self._begin(segment, is_last=self._next is None)
        return True
