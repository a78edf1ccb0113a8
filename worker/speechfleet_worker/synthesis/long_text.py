"""Segments of a long text, cut in a thread so that the loop serves others meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from speechfleet.record import StoredSegment
from speechfleet.request import Lane, Request
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis.look_ahead import (
    InFlightSegment,
    LookAhead,
    SegmentSource,
    Speak,
)

T = TypeVar("T")

LONG_TEXT = 20_000
"""Code points above which a text is cut in a thread: cutting less takes milliseconds."""


async def off_loop_if_long(text: str, call: Callable[[], T]) -> T:
    """Call a function that cuts a text, in a thread where the text is long."""
    return call() if len(text) <= LONG_TEXT else await asyncio.to_thread(call)


def text_read_at_once(request: Request, done: Sequence[StoredSegment]) -> str:
    """Return the text of a job where all of it is read before the first segment; else ""."""
    is_cut_lazily = not done and request.form.speakable == "off"
    return "" if is_cut_lazily or request.lane is Lane.SESSION else request.text


def source_for(text: str) -> type[LookAhead | LongTextSource]:
    """Return the class that speaks the segments of a text of this length."""
    return LookAhead if len(text) <= LONG_TEXT else LongTextSource


class LongTextSource(SegmentSource):
    """Speaks the segments of a long text. Only one thread at a time works on ``segments``."""

    def __init__(self, segments: Iterator[TextSegment], speak: Speak, ahead: int) -> None:
        super().__init__(speak, ahead)
        self._segments = segments
        self._ready: deque[TextSegment] = deque()
        self._is_cut = False
        self._cutting: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncGenerator[InFlightSegment, None]:
        # The first call starts alone: cutting on ahead must not hold back the first audio.
        await self._cut(2)
        self._start()
        self._cutting = asyncio.create_task(self._cut(self._width + 1))
        while self._under_way:
            self._under_way[0].turn.set()
            yield self._under_way[0]
            self._under_way.popleft()
            await self._cutting
            await self._cut(self._width + 1)
            self._start()

    async def __aexit__(self, *_: object) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            await asyncio.gather(self._cutting, return_exceptions=True)
        await super().__aexit__()

    def fill(self) -> None:
        while len(self._under_way) < self._width and self._start():
            pass

    async def _cut(self, count: int) -> None:
        """Have so many segments ready: one more than are begun, which shows which is the last."""
        wanted = count - len(self._ready)
        if self._is_cut or wanted <= 0:
            return
        cut = await asyncio.to_thread(lambda: list(islice(self._segments, wanted)))
        self._ready += cut
        self._is_cut = len(cut) < wanted

    def _start(self) -> bool:
        """Begin the next segment, if it is known whether it is the last; tell if it was begun."""
        if self._is_closed or len(self._ready) < (1 if self._is_cut else 2):
            return False
        segment = self._ready.popleft()
        self._begin(segment, is_last=self._is_cut and not self._ready)
        return True
