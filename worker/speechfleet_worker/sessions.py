"""The life of one session in the worker that holds it: a job whose text is still being written.

What is spoken, published, stored and finished is as in `synthesis.py`; only where the segments
come from differs. The text is read when there is a nudge (`Nudges`), and now and then besides.
A provider's failure that may pass is mended here, within the session, from the last finished
segment on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from typing import Any, Self

from speechfleet.errors import FleetUnavailable, ProviderError, SpeechFleetError
from speechfleet.jobs import Record, Request
from speechfleet.jobs import Segment as StoredSegment
from speechfleet.ledger import Claim, Fleet, Lease
from speechfleet.ledger.lease import Written
from speechfleet_worker.live_text import LiveText
from speechfleet_worker.lookahead import Ahead, Speak, SpokenAhead
from speechfleet_worker.models import Models, Voice
from speechfleet_worker.process import Process
from speechfleet_worker.providers.base import ProviderModel, speaks_as_pushed
from speechfleet_worker.pushing import Pushed
from speechfleet_worker.retrying import delay_before
from speechfleet_worker.segment_store import segment_hash
from speechfleet_worker.segments import Segment
from speechfleet_worker.synthesis import Execution, HandOver

log = logging.getLogger(__name__)

COLLECT_EVERY = 0.25
"""Seconds between looks for text that no nudge told of: one that was lost is a hiccup."""
READ_EVERY = 1.0
"""Seconds after which a session reads its text unasked, also to see whether anybody is there."""
AHEAD = 1
"""Sentences spoken beyond the current one: more would be paid for in vain at a barge-in."""


class Nudges:
    """Wakes the sessions of this process that have new text.

    A nudge names one of them; all others that have text by then are asked for, so that a worker
    with many sessions gets no more nudges than it can read.
    """

    def __init__(self, fleet: Fleet, boot: str, wake: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._boot = boot
        self._wake = wake
        self._told = asyncio.Event()

    def take(self, name: str) -> None:
        """One nudge, on the loop."""
        self._wake(name)
        self._told.set()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COLLECT_EVERY):
                    await self._told.wait()
            self._told.clear()
            with contextlib.suppress(SpeechFleetError):
                for name in await self._fleet.nudged(self._boot):
                    self._wake(name)


class Session(Execution):
    """One granted claim of a session."""

    def __init__(self, process: Process, models: Models, lease: Lease) -> None:
        super().__init__(process, models, lease)
        self._nudged = asyncio.Event()
        self._text: LiveText | None = None
        self._failures = 0
        self._progress = 0

    def nudge(self) -> None:
        """There is more text."""
        self._nudged.set()

    @property
    def request(self) -> Request:
        request = super().request
        if self._text is None:
            return request
        return replace(request, text=self._text.text, open=self._text.open)

    @contextlib.asynccontextmanager
    async def _conversation(self, voice: Voice) -> AsyncGenerator[Voice, None]:
        model = voice.model()
        if not isinstance(model, ProviderModel) or speaks_as_pushed(model):
            yield voice
            return
        async with model.conversation() as first:
            yield replace(voice, first=first)

    def _segments(
        self, voice: Voice, done: list[StoredSegment]
    ) -> tuple[list[StoredSegment], Callable[[Speak], SpokenAhead]]:
        if len(done) > self._progress:
            self._progress, self._failures = len(done), 0
        self._nudged.set()  # there may be text already
        text = self._text = LiveText(
            voice,
            start=done[-1].text_end if done else 0,
            index=len(done),
            cold_start=self._settings.session_cold_start,
        )
        model = voice.first
        if not done and speaks_as_pushed(model):
            return done, lambda _: Pushed(
                voice.model(), self._read, text, self._settings.timeouts, self._hash
            )
        return done, lambda speak: _Sentences(
            self._read, text, speak, self._settings.session_pause
        )

    def _hash(self, text: str) -> str:
        """Of a text whose audio nobody else may reuse: it depends on how it was pushed."""
        return segment_hash(self.lease.job.namespace, self.request, text, self.lease.token)

    async def _read(self, offset: int, within: float) -> Written:
        """The text past ``offset``, after a nudge or a while. Raises LeaseLost, HandOver."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(within, READ_EVERY)):
                await self._nudged.wait()
        self._nudged.clear()
        if self.process.draining:
            raise HandOver
        while True:
            with contextlib.suppress(FleetUnavailable):
                written = await self.lease.read(offset)
                break
        if written.open:
            await self._end_if_deserted(written)
        return written

    async def _end_if_deserted(self, written: Written) -> None:
        settings, why = self._settings, ""
        if written.unseen > settings.session_vanished:
            why = f"its client vanished ({settings.session_vanished:g} s without a sign of it)"
        elif written.unpushed > settings.session_idle:
            why = f"no new text for {settings.session_idle:g} s"
        if why:
            job = self.lease.job
            await self.process.jobs.cancel(job.namespace, job.id, why)

    async def _fail(
        self, record: Record, error: SpeechFleetError, *, final: bool = False
    ) -> Claim | None:
        self._failures += 1
        if not (isinstance(error, ProviderError) and error.retryable):
            return await super()._fail(record, error, final=final)
        if self._failures >= self._settings.max_attempts:
            return await super()._fail(record, error, final=True)
        log.warning("%s: %s; once more", error.code, error, extra={"job": self.name})
        if self._failures > 1:
            await asyncio.sleep(
                delay_before(self._failures - 1, self._settings, error.retry_after)
            )
        return await self.regain()


class _Sentences(SpokenAhead):
    """The sentences of a text that is still being written.

    Which one is the last shows only once the text is complete: `Ahead.is_last` becomes true
    then, perhaps when all of its audio is there.
    """

    def __init__(
        self,
        read: Callable[[int, float], Coroutine[Any, Any, Written]],
        text: LiveText,
        speak: Speak,
        pause: float,
    ) -> None:
        super().__init__(speak, AHEAD)
        self._read = read
        self._text = text
        self._pause = pause
        self._ready: deque[Segment] = deque()
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._follow())
        self._reader.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *how: object) -> None:
        assert self._reader is not None
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await super().__aexit__(*how)

    async def __aiter__(self) -> AsyncGenerator[Ahead, None]:
        assert self._reader is not None
        while True:
            self._changed.clear()
            over = self._reader.done()
            if over:
                self._reader.result()
            if not self._under_way:
                self._start()
            if self._under_way:
                yield self._under_way[0]
                self._under_way.popleft()
            elif over:
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
            written = await self._read(self._text.size, max(0.0, pause_at - clock()))
            if written.tail or not written.open:
                self._ready += self._text.take(written.tail, open=written.open)
                pause_at = clock() + self._pause
            elif clock() >= pause_at:
                self._ready += self._text.pause()
                pause_at = math.inf
            self._mark_last()
            self._changed.set()
