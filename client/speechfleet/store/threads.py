"""Run a store's blocking calls in threads, each bounded from outside its thread.

A call that makes no progress for too long is abandoned: whoever waits for it gets a retryable
StoreUnavailable, the store replaces its client, and another thread takes the place of the one
that is stuck, which is told to end as soon as it can.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from speechfleet.errors import StoreUnavailable

T = TypeVar("T")

THREADS = 16
"""A store's operations at once; also the connections that an S3 client keeps."""
SILENCE_S = 30.0
"""Seconds without progress after which a call is abandoned."""
SLOWEST_BYTES_PER_S = 64 << 10
"""The slowest upload that is waited for: a call that sends more bytes gets more time."""
MAX_STUCK = 16
"""Abandoned calls whose threads have not ended; past that every call is refused at once."""


class _Abandoned(BaseException):
    """Raised in a thread whose call was abandoned, as soon as it runs Python code again."""


class _Call:
    """Describes a blocking call: what runs, since when, and the last sign of its progress."""

    def __init__(self, work: Callable[[], Any], size: int, silence: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self._loop.create_future()
        self.thread: int | None = None
        self.is_abandoned = False
        self.is_settled = False
        self.is_ended = False
        self.timer: asyncio.TimerHandle | None = None
        self._watchers: list[Future[None]] = []
        self._work = work
        self._patience = silence + size / SLOWEST_BYTES_PER_S
        self._last_sign = 0.0

    def progress(self) -> None:
        self._last_sign = time.monotonic()

    def time_left(self) -> float:
        """Return the seconds until the call is overdue; one without a thread yet never is."""
        if self.thread is None:
            return self._patience
        return self._last_sign + self._patience - time.monotonic()

    def run(self) -> None:
        self.progress()
        self.thread = threading.get_ident()
        if self.answer.cancelled():
            self._settle(None, None)
            return
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 # raised where the call is awaited
            self._settle(None, error)
        else:
            self._settle(result, None)

    def give_up(self) -> None:
        """Answer whoever waits; the thread goes on."""
        error = StoreUnavailable(
            f"the object store did not go on with an operation for {self._patience:.0f} s; "
            "it is given up and may be tried again"
        )
        self._settle(None, error)

    def settled(self) -> Future[None]:
        """Return a future that is done once the call has its answer."""
        watcher: Future[None] = Future()
        self._watchers.append(watcher)
        if self.is_settled:
            self._tell_watchers()
        return watcher

    def _settle(self, result: Any, error: BaseException | None) -> None:
        self.is_settled = True
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._set, result, error)
        self._tell_watchers()

    def _set(self, result: Any, error: BaseException | None) -> None:
        if self.answer.done():  # given up or cancelled, it has its answer already
            return
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(error)

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            with suppress(InvalidStateError):
                watcher.set_result(None)


_current = threading.local()


def progress() -> None:
    """Tell that the store's call in this thread goes on; no-op elsewhere."""
    call: _Call | None = getattr(_current, "call", None)
    if call is not None:
        call.progress()


def progressing(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, and tell with each that the store's call goes on."""
    for item in items:
        progress()
        yield item


class Threads:
    """Run blocking calls beside the loop, each within its time.

    ``mapping`` turns foreign errors into own ones; ``renew`` is called, without waiting, after
    a call was abandoned: its connection must not be used again.
    """

    def __init__(
        self,
        mapping: Callable[[], AbstractContextManager[None]],
        renew: Callable[[], None] = lambda: None,
        *,
        threads: int = THREADS,
        silence: float = SILENCE_S,
    ) -> None:
        self._mapping = mapping
        self._renew = renew
        self._size = threads
        self._silence = silence
        self.timed: Callable[[float], object] = lambda seconds: None
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0
        self._waiting = 0
        self._stuck = 0
        self._calls: set[_Call] = set()
        """Those that have not ended, given up or not."""
        self._is_closed = False

    async def run(self, work: Callable[[], T], *, size: int = 0) -> T:
        """Run a call that sends ``size`` bytes. A cancelled one may still come to its end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = _Call(partial(self._map, work), size, self._silence)
        self._start(call)
        self._look_again(loop, call)
        try:
            return cast("T", await call.answer)
        finally:
            if call.timer is not None:
                call.timer.cancel()
            _drop(call.answer)
            self.timed(loop.time() - began)

    def _look_again(self, loop: asyncio.AbstractEventLoop, call: _Call) -> None:
        """Give up what is overdue by the time at which this call may be."""
        call.timer = loop.call_later(max(0.01, call.time_left()), self._look, loop, call)

    def _look(self, loop: asyncio.AbstractEventLoop, call: _Call) -> None:
        try:
            self.abandon_overdue()
        finally:
            if not call.answer.done():
                self._look_again(loop, call)

    @property
    def count(self) -> int:
        """Count the threads, stuck ones included."""
        return self._threads + self._stuck

    async def close(self) -> None:
        """Wait for the calls under way, each within its time; no further one is taken."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                for _ in range(self._threads):
                    self._queue.put(None)
        while calls := [call for call in list(self._calls) if not call.is_settled]:
            settled = [asyncio.wrap_future(call.settled()) for call in calls]
            await asyncio.wait(settled, timeout=max(0.01, min(c.time_left() for c in calls)))
            self.abandon_overdue()

    def abandon_overdue(self) -> None:
        """Give up every call that made no progress within its time."""
        with self._lock:
            running = [c for c in self._calls if c.thread is not None and not c.is_abandoned]
            overdue = [call for call in running if call.time_left() <= 0]
            for call in overdue:
                call.is_abandoned = True
                self._threads -= 1
                self._stuck += 1
                _interrupt(call.thread)
            while self._waiting > self._free and self._threads < min(self._size, self._waiting):
                self._begin_thread()
        if overdue:
            self._renew()
        for call in overdue:
            call.give_up()

    def _start(self, call: _Call) -> None:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the store is closed")
            if self._stuck >= MAX_STUCK:
                raise StoreUnavailable(
                    f"{self._stuck} operations of the object store hang: it is not asked again "
                    "before one of them ends"
                )
            self._calls.add(call)
            self._waiting += 1
            self._queue.put(call)
            if self._waiting > self._free and self._threads < self._size:
                self._begin_thread()

    def _begin_thread(self) -> None:
        self._threads += 1
        # A daemon: a thread that hangs must not keep the process from ending.
        threading.Thread(target=self._work, name="speechfleet-store", daemon=True).start()

    def _work(self) -> None:
        call: _Call | None = None
        try:
            while (call := self._next()) is not None:
                _current.call = call
                call.run()
                if self._end(call):
                    return
        except _Abandoned:  # it may come a moment after the call has ended
            if call is not None:
                self._end(call)

    def _next(self) -> _Call | None:
        with self._lock:
            self._free += 1
        call = self._queue.get()
        with self._lock:
            self._free -= 1
            if call is None:
                self._threads -= 1
            else:
                self._waiting -= 1
        return call

    def _end(self, call: _Call) -> bool:
        """Account for a call's end; tell whether the thread has to end with it."""
        with self._lock:
            if not call.is_ended:
                call.is_ended = True
                self._calls.discard(call)
                self._stuck -= call.is_abandoned
            return call.is_abandoned

    def _map(self, work: Callable[[], T]) -> T:
        with self._mapping():
            return work()


def _drop(future: asyncio.Future[Any]) -> None:
    """Nobody waits for a future any more: its error is no news to the loop."""
    if future.done() and not future.cancelled():
        future.exception()


def _interrupt(thread: int | None) -> None:
    """Raise `_Abandoned` in a thread; it is seen once the thread runs Python code again."""
    if thread is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread), ctypes.py_object(_Abandoned)
        )
