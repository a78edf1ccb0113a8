"""The four time-outs of a provider call: connect, first audio, silence, whole call.

`timed` watches over an adapter's call, `Watch` over single waits, and `Watchdog` over a
provider that is listened to while it is being spoken to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar

from speechfleet.errors import ProviderTimeout
from speechfleet.settings import Timeouts

T = TypeVar("T")


def connect_timeout(seconds: float, address: str) -> ProviderTimeout:
    """Make the error for a connection that was not made in time."""
    return ProviderTimeout(f"connect: no connection to {address} within {seconds:g} s")


async def timed(
    parts: AsyncGenerator[T, None], timeouts: Timeouts, is_audio: Callable[[T], bool]
) -> AsyncGenerator[T, None]:
    """Yield the same parts, or raise ProviderTimeout naming which of the time-outs passed."""
    watch = Watch(timeouts)
    async with aclosing(parts):
        try:
            while True:
                with watch:
                    part = await anext(parts)
                if is_audio(part):
                    watch.heard()
                yield part
        except StopAsyncIteration:
            return
        finally:
            watch.close()


class Watch:
    """Limit waits: each ``with`` is one, cancelled when its time is over.

    ``slack``: seconds added to the first wait and to the silence, for models that connect
    within them. `asyncio.timeout` would do, were it not that a timer for each chunk costs as
    much as the chunk itself. Here one timer serves a whole call: it looks at the deadline when
    it rings, and as a rule finds it moved on.
    """

    def __init__(self, timeouts: Timeouts, slack: float = 0.0) -> None:
        self._limit, self._name = timeouts.first_audio + slack, "first audio"
        self._silence = timeouts.silence + slack
        self._call = timeouts.call
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + timeouts.call
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._is_expired = False

    def heard(self) -> None:
        """Limit the silence from now on: audio came."""
        self._limit, self._name = self._silence, "silence between chunks"

    def __enter__(self) -> None:
        self._task = asyncio.current_task(self._loop)
        self._cancelling = self._task.cancelling() if self._task else 0
        deadline = self._loop.time() + self._limit
        self._deadline = deadline if deadline < self._end else self._end
        if self._timer is None or self._timer.when() > self._deadline:
            self._ring_at_deadline()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if not self._is_expired or task is None:
            return
        # As in `asyncio.timeout`: somebody else's cancellation goes before ours.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            is_whole = self._deadline == self._end
            name, seconds = ("whole call", self._call) if is_whole else (self._name, self._limit)
            raise ProviderTimeout(f"{name}: nothing came within {seconds:g} s") from None

    def close(self) -> None:
        """Drop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _ring_at_deadline(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:  # nobody waits now; the next wait sets the timer again
            return
        if self._loop.time() < self._deadline:
            self._ring_at_deadline()
        else:
            self._is_expired = True
            self._task.cancel()


class Watchdog:
    """Limit the time to the next message, as long as the provider owes something."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._owed_since: float | None = None
        self._is_speaking = False
        self._end: float | None = None
        self._pending: asyncio.Timeout | None = None

    async def guard(self, receiving: Awaitable[T]) -> T:
        """Await a message; ProviderTimeout naming the limit that passed."""
        try:
            async with asyncio.timeout_at(self._deadline()) as self._pending:
                return await receiving
        except TimeoutError:
            raise ProviderTimeout(f"{self._overdue()}: nothing came in time") from None
        finally:
            self._pending = None

    def owe(self) -> None:
        """Count from now, unless something is owed already."""
        if self._owed_since is None:
            self.begin()

    def begin(self) -> None:
        """Count the time to the first audio from now."""
        self._owed_since, self._is_speaking = _now(), False
        self._rearm()

    def heard(self) -> None:
        """Count the silence from now: audio came."""
        self._owed_since, self._is_speaking = _now(), True

    def paid(self, *, more: bool) -> None:
        """End the wait for a response; ``more`` are to come, or none."""
        if more:
            self.begin()
        else:
            # Once all text is sent the end of the session is owed still.
            self._owed_since = None if self._end is None else _now()

    def finish(self) -> None:
        """Count the whole call from now: all text is sent."""
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
        return self._timeouts.silence if self._is_speaking else self._timeouts.first_audio

    def _overdue(self) -> str:
        if self._end is not None and _now() >= self._end:
            return f"whole call ({self._timeouts.call:g} s)"
        name = "silence between chunks" if self._is_speaking else "first audio"
        return f"{name} ({self._limit():g} s)"


def _now() -> float:
    return asyncio.get_running_loop().time()
