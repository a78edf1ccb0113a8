"""Segments of a job spoken a few at a time, handed on in order."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from speechfleet.tts import TTSUsage
from speechfleet_worker.segments import Segment
from speechfleet_worker.speaking import Piece

MERGED = 16 << 10


@dataclass
class Spoken:
    """What a segment's call gave, as it gives it. ``cached``: it came from the segment store."""

    hash: str
    cached: bool = False
    usage: TTSUsage | None = None
    request_id: str = ""
    words: tuple[tuple[int, int, int], ...] = ()


@dataclass
class Ahead:
    """A segment that is being spoken: its pieces queue up until it is their turn."""

    segment: Segment
    is_last: bool
    spoken: Spoken
    task: asyncio.Task[None] | None = None
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once all segments before it are done with."""
    _pieces: deque[Piece] = field(default_factory=deque)
    _waiter: asyncio.Future[None] | None = None

    def give(self, piece: Piece) -> None:
        """The next piece, from the call."""
        self._pieces.append(piece)
        self.wake()

    def wake(self) -> None:
        """Whoever waits for audio looks again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def audio(self, *, merged: bool) -> AsyncGenerator[Piece, None]:
        """The pieces in order; raises what the call raised, after what it gave before.

        ``merged``: small ones that came while the last was published are one, up to `MERGED`
        bytes, so that a model far faster than real time costs the stream little.
        """
        assert self.task is not None
        loop = asyncio.get_running_loop()
        while True:
            while self._pieces:
                yield self._take(MERGED if merged else 0)
            if self.task.done():
                break
            self._waiter = loop.create_future()
            await self._waiter
        await self.task

    def _take(self, limit: int) -> Piece:
        first = self._pieces.popleft()
        parts, size = [first.pcm], len(first.pcm)
        while self._pieces and size + len(self._pieces[0].pcm) <= limit:
            if self._pieces[0].shape != first.shape:
                break
            parts.append(self._pieces.popleft().pcm)
            size += len(parts[-1])
        return first._replace(pcm=b"".join(parts)) if len(parts) > 1 else first


Speak = Callable[[Ahead], Coroutine[Any, Any, None]]


class SpokenAhead(ABC):
    """Runs ``speak`` for up to ``ahead`` segments beyond the one that is being consumed.

    Use it as an async context manager: leaving cancels every call that is under way.
    """

    def __init__(self, speak: Speak, ahead: int) -> None:
        self._speak = speak
        self._width = ahead + 1
        self._under_way: deque[Ahead] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [item.task for item in self._under_way if item.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @abstractmethod
    def __aiter__(self) -> AsyncGenerator[Ahead, None]:
        """The segments in order, each being spoken."""

    @abstractmethod
    def fill(self) -> None:
        """Begin as many further segments as may be; called once the current one is heard."""

    def _begin(self, segment: Segment, *, is_last: bool) -> None:
        item = Ahead(segment, is_last, Spoken(""))
        item.task = asyncio.create_task(self._speak(item))
        item.task.add_done_callback(lambda _: item.wake())
        self._under_way.append(item)


class LookAhead(SpokenAhead):
    """Over the segments of a text that is all there."""

    def __init__(self, segments: Iterator[Segment], speak: Speak, ahead: int) -> None:
        super().__init__(speak, ahead)
        self._segments = segments
        self._next = next(segments, None)

    async def __aiter__(self) -> AsyncGenerator[Ahead, None]:
        # The first call starts alone: cutting on ahead must not hold back the first audio.
        self._start()
        while self._under_way:
            self._under_way[0].turn.set()
            yield self._under_way[0]
            self._under_way.popleft()
            self._start()

    def fill(self) -> None:
        while len(self._under_way) < self._width and self._next is not None:
            self._start()

    def _start(self) -> None:
        segment = self._next
        if segment is None:
            return
        self._next = next(self._segments, None)
        self._begin(segment, is_last=self._next is None)
