"""Take the sentences of a session's text, while it is being written."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Self

from speechfleet.ledger.lease import Written
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis.look_ahead import InFlightSegment, SegmentSource, Speak
from speechfleet_worker.synthesis.session_text import SessionText

READ_INTERVAL_S = 1.0
"""After this a session reads its text without a nudge, also to see whether its client lives."""
SENTENCES_AHEAD = 1
"""Synthesized beyond the current one: more would be paid for in vain at a barge-in."""


class SessionSentences(SegmentSource):
    """The sentences of a text that is still being written.

    The last one is known only once the text is complete: `InFlightSegment.is_last` becomes
    true then, perhaps after all of its audio has arrived. ``read``: waits for text past an
    offset, for so many seconds. ``pause``: seconds without text after which an unfinished
    sentence is spoken.
    """

    def __init__(
        self,
        read: Callable[[int, float], Coroutine[Any, Any, Written]],
        text: SessionText,
        speak: Speak,
        pause: float,
    ) -> None:
        super().__init__(speak, SENTENCES_AHEAD)
        self._read = read
        self._text = text
        self._pause = pause
        self._ready: deque[TextSegment] = deque()
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._follow())
        self._reader.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._reader is not None
        self._reader.cancel()
        try:
            await asyncio.gather(self._reader, return_exceptions=True)
        finally:  # nobody pays for calls that go on, however often this is cancelled
            await super().__aexit__(*exc_info)

    async def __aiter__(self) -> AsyncGenerator[InFlightSegment, None]:
        assert self._reader is not None
        while True:
            self._changed.clear()
            complete = self._reader.done()
            if complete:
                self._reader.result()
            if not self._under_way:
                self._start()
            if self._under_way:
                yield self._under_way[0]
                self._under_way.popleft()
            elif complete:
                return
            else:
                await self._changed.wait()

    def fill(self) -> None:
        while self._ready and len(self._under_way) < self._width:
            self._start()

    def _start(self) -> None:
        if self._ready:
            self._begin(self._ready.popleft(), is_last=False)
            self._mark_last()

    def _mark_last(self) -> None:
        if self._under_way and not self._ready and not self._text.open:
            self._under_way[-1].is_last = True

    async def _follow(self) -> None:
        clock = asyncio.get_running_loop().time
        pause_at = math.inf
        while self._text.open:
            asked = clock()
            written = await self._read(self._text.size, max(0.0, pause_at - asked))
            now = clock()
            was_away = now - asked > READ_INTERVAL_S + self._pause
            # Who writes lost Redis, too, and may be back as much later as the outage was long.
            pause = now - asked if was_away else self._pause
            if written.tail or not written.open:
                self._ready += await self._text.take_off_loop(written.tail, open=written.open)
                pause_at = clock() + pause
            elif now >= pause_at and was_away:
                pause_at = now + pause
            elif now >= pause_at:
                self._ready += self._text.pause()
                pause_at = math.inf
            self._mark_last()
            self._changed.set()
