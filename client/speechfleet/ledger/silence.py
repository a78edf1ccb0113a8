"""Watch over a connection whose peer may have gone silent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from speechfleet.ledger.reply_reader import ReplyReader

SILENCE_S = 1.5
"""Seconds without a reply after which another connection is tried."""
GRACE_S = 0.5
"""Seconds that a silent connection still has once another one was answered."""


class Watch:
    """Closes a connection whose peer is silent although commands wait for their replies.

    ``answers`` tells whether the server answers elsewhere: a server that stands still is waited
    for, up to ``timeout_s``; a connection that is silent on its own is not.

    One timer watches all commands: most take a millisecond, and a timer each costs more.
    """

    def __init__(
        self, reader: ReplyReader, timeout_s: float, answers: Callable[[], Awaitable[bool]]
    ) -> None:
        self._reader = reader
        self._timeout_s = timeout_s
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch the commands that are sent now, beside all others."""
        if self._timer is None and self._task is None:
            self._look_later()

    def stop(self) -> None:
        """Watch nothing more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _look_later(self) -> None:
        when = self._reader.silent_since + min(SILENCE_S, self._timeout_s)
        self._timer = self._loop.call_at(when, self._look, self._reader.silent_since)

    def _look(self, since: float) -> None:
        self._timer = None
        if self._is_silent(since):
            self._task = self._loop.create_task(self._run(since))
        elif self._reader.is_busy:
            self._look_later()

    def _is_silent(self, since: float) -> bool:
        """Tell whether commands wait, and nothing has come since that time."""
        return self._reader.is_busy and self._reader.silent_since == since

    async def _run(self, since: float) -> None:
        while self._is_silent(since) and self._loop.time() < since + self._timeout_s:
            if await self._answers():
                await asyncio.sleep(GRACE_S)
                break
            await asyncio.sleep(SILENCE_S)
        self._task = None
        if self._is_silent(since):
            self._reader.fail(TimeoutError("no reply in time"))
        elif self._reader.is_busy:
            self._look_later()
