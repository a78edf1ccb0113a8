"""The time-outs of a provider that is listened to while it is being spoken to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from speechfleet.errors import ProviderTimeout
from speechfleet.settings import Timeouts

Received = TypeVar("Received")


class Watchdog:
    """How long the next message may take: for ever, unless the provider owes something."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._owed_since: float | None = None
        self._speaking = False
        self._end: float | None = None
        self._pending: asyncio.Timeout | None = None

    async def guard(self, receiving: Awaitable[Received]) -> Received:
        """What ``receiving`` gives; ProviderTimeout naming the limit that passed."""
        try:
            async with asyncio.timeout_at(self._deadline()) as self._pending:
                return await receiving
        except TimeoutError:
            raise ProviderTimeout(f"{self._overdue()}: nothing came in time") from None
        finally:
            self._pending = None

    def owe(self) -> None:
        """Something was asked for."""
        if self._owed_since is None:
            self.begin()

    def begin(self) -> None:
        """From now on counts the time to the first audio."""
        self._owed_since, self._speaking = _now(), False
        self._rearm()

    def heard(self) -> None:
        """Audio came: from now on counts the silence."""
        self._owed_since, self._speaking = _now(), True

    def paid(self, *, more: bool) -> None:
        """A response is done, and ``more`` are to come."""
        if more:
            self.begin()
        else:
            # Once all text is sent the end of the session is owed still.
            self._owed_since = None if self._end is None else _now()

    def finish(self) -> None:
        """All text is sent: from now on counts the whole call."""
        if self._end is None:
            self._end = _now() + self._timeouts.call
            self.owe()
            self._rearm()

    def _rearm(self) -> None:
        if self._pending is not None:
            self._pending.reschedule(self._deadline())

    def _deadline(self) -> float | None:
        limits = [] if self._end is None else [self._end]
        if self._owed_since is not None:
            limits.append(self._owed_since + self._limit())
        return min(limits, default=None)

    def _limit(self) -> float:
        return self._timeouts.silence if self._speaking else self._timeouts.first_audio

    def _overdue(self) -> str:
        if self._end is not None and _now() >= self._end:
            return f"whole call ({self._timeouts.call:g} s)"
        what = "silence between chunks" if self._speaking else "first audio"
        return f"{what} ({self._limit():g} s)"


def _now() -> float:
    return asyncio.get_running_loop().time()
