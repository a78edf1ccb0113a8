"""The loop behind the synchronous client, and what its handles share."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from speechfleet.client import AsyncClient
from speechfleet.embedded.data_folder import default_folder
from speechfleet.embedded.home import running_fleet
from speechfleet.errors import InvalidRequest
from speechfleet.settings import Settings

T = TypeVar("T")


class LoopThread:
    """Run coroutines on an event loop in a daemon thread; callable from any thread.

    A child process that was made by fork() has no such thread: the first call there starts
    another loop, on which the client connects anew.
    """

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._closed = False
        self._start()
        _LOOP_THREADS.add(self)

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="speechfleet", daemon=True
        )
        self._thread.start()
        # Last: another thread of this process may use the loop as soon as it stands here.
        self._process = os.getpid()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def at_home(self) -> bool:
        """Tell whether the loop runs in this process."""
        return self._process == os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the coroutine's result. Raises InvalidRequest once the loop is closed."""
        if self._closed:
            coroutine.close()
            raise InvalidRequest(
                "this Client is closed: open another one, and use its jobs while it is open",
                code="client_closed",
            )
        if not self.at_home:
            self._start_in_child()
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C in this thread stops the work in that one
            raise

    def _start_in_child(self) -> None:
        with self._starting:
            if not self.at_home:
                _PARENTS.append(self._loop)
                self._start()

    def _forked(self) -> None:
        # Another thread of the parent may have held it.
        self._starting = threading.Lock()

    def call(self, function: Callable[[], T]) -> T:
        """Return the function's result, called on the loop: what it makes belongs there."""

        async def called() -> T:
            return function()

        return self.run(called())

    def iterate(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield the items as they come; leaving early closes their source."""
        try:
            while (item := self.run(_next(items))) is not None:
                yield item
        finally:
            if not self.closed:
                self.run(items.aclose())

    def close(self) -> None:
        """Stop the loop and its thread. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if not self.at_home:
            return  # all of it is the parent's
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


_LOOP_THREADS: weakref.WeakSet[LoopThread] = weakref.WeakSet()
_PARENTS: list[asyncio.AbstractEventLoop] = []
"""Loops of the parent process. They are kept: closing one would reach into the parent."""


def _after_fork() -> None:
    for thread in list(_LOOP_THREADS):
        thread._forked()  # noqa: SLF001 # of this module


os.register_at_fork(after_in_child=_after_fork)


async def _next(items: AsyncGenerator[T, None]) -> T | None:
    return await anext(items, None)


Handle = TypeVar("Handle")


class SyncHandle(Generic[Handle]):
    """Wrap an asynchronous handle: each call runs on the client's loop."""

    def __init__(self, handle: Handle, loop: LoopThread) -> None:
        self._async = handle
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._async).removeprefix("Async")


class ClientBase:
    """Open an AsyncClient on a loop of its own, and close both."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        redis_url: str | None = None,
        store: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """Connect at once. Arguments and errors are those of ``async with AsyncClient()``."""
        self._loop = LoopThread()
        try:
            self._async: AsyncClient = self._loop.run(
                _opened(settings, redis_url=redis_url, store=store, namespace=namespace)
            )
        except BaseException:
            self._loop.close()
            raise

    @classmethod
    @contextmanager
    def local(
        cls,
        *,
        data: Path | str | None = None,
        workers: int = 1,
        sessions: bool = True,
        namespace: str | None = None,
    ) -> Generator[Self, None, None]:
        """Bring up a fleet on this machine, and open a client of it, for one ``with``.

        A fleet that runs on the folder already is joined. ``data``: the folder; else that of
        the command line. ``sessions``: with a worker for realtime sessions. Needs the extra
        ``local``. Raises MisconfiguredError, FolderInUse.
        """
        folder = Path(data) if data is not None else default_folder()
        with (
            running_fleet(Settings.load(), folder, workers=workers, sessions=sessions) as settings,
            cls(settings, namespace=namespace) as client,
        ):
            yield client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection of this client; its jobs go on. Idempotent."""
        if not self._loop.closed:
            if self._loop.at_home:
                self._loop.run(self._async.close())
            self._loop.close()


async def _opened(settings: Settings | None, **overrides: str | None) -> AsyncClient:
    return await AsyncClient(settings, **overrides).__aenter__()
