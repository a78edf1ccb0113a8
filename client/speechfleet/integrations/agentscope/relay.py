"""Hands events of two tasks on to one reader, and the reader's cancellation back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any


class Relay:
    """Runs a source of events and a second task that adds some, for one reader.

    Each event is acknowledged: `send` returns when the reader asks for the next one. AgentScope
    starts another round where the end of a reply has not left the chain of middleware by then.
    """

    def __init__(self) -> None:
        self._events: asyncio.Queue[tuple[Any, asyncio.Event] | None] = asyncio.Queue()
        self._source: asyncio.Task[None] | None = None
        self._second: asyncio.Task[None] | None = None
        self._source_waits = False
        self._cancelled = False

    def start(
        self, *, source: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]
    ) -> None:
        """Start both tasks; the events end with the source."""
        self._second = asyncio.create_task(second)
        self._source = asyncio.create_task(source)
        self._source.add_done_callback(lambda _: self._events.put_nowait(None))

    async def send(self, event: Any) -> None:
        """Hand an event on; return when the reader has done with it."""
        done = asyncio.Event()
        self._events.put_nowait((event, done))
        await done.wait()

    async def second_ended(self) -> None:
        """Wait for the end of the second task. Raises what it failed of."""
        if self._second is not None:
            await asyncio.shield(self._second)

    async def of_agent(self, events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """Yield the source's own events; a cancelled reader cancels what it waits for."""
        async with aclosing(events):
            while True:
                self._source_waits = True
                if self._cancelled:
                    self._cancel_source()
                try:
                    event = await anext(events)
                except StopAsyncIteration:
                    return
                finally:
                    self._source_waits = False
                yield event

    async def events(self, *, interrupted: Callable[[], None]) -> AsyncGenerator[Any, None]:
        """Yield all events. A cancelled reader is told to ``interrupted`` and to the agent.

        An agent ends its reply in its own way then. Raises CancelledError where none was asked.
        """
        while True:
            try:
                item = await self._events.get()
            except asyncio.CancelledError:
                interrupted()
                self._cancelled = True
                if self._source_waits:
                    self._cancel_source()
                continue
            if item is None:
                break
            event, done = item
            yield event
            done.set()
        if self._source is not None:
            await self._source
        if self._cancelled:
            raise asyncio.CancelledError

    def _cancel_source(self) -> None:
        self._cancelled = False
        if self._source is not None:
            self._source.cancel()

    async def stop(self) -> None:
        """End both tasks. Idempotent."""
        tasks = [task for task in (self._source, self._second) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
