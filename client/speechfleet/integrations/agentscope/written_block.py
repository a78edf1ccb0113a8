"""A text block on its way from the agent to the fleet: neither waits for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from speechfleet.integrations.agentscope.text_block import TextBlock


class WrittenBlock:
    """Takes text at once, and says it in a task of its own: a session takes time to open."""

    def __init__(self, reply_id: str, block: TextBlock) -> None:
        self.reply_id = reply_id
        self._block = block
        self._text: asyncio.Queue[str | None] = asyncio.Queue()
        self._opened = asyncio.Event()
        self._writing = asyncio.create_task(self._write())
        self._leaving: asyncio.Task[None] | None = None

    def write(self, text: str) -> None:
        """Take more text."""
        self._text.put_nowait(text)

    def end(self) -> None:
        """Take no more text."""
        self._text.put_nowait(None)

    async def _write(self) -> None:
        try:
            while (text := await self._text.get()) is not None:
                await self._block.say(text)
                self._opened.set()
            await self._block.complete()
        finally:
            self._opened.set()

    async def audio(self) -> AsyncGenerator[bytes, None]:
        """Yield the deltas of its audio, to the end of the block or to its interruption."""
        await self._opened.wait()
        async with aclosing(self._block.audio()) as deltas:
            async for data in deltas:
                yield data
        await asyncio.wait([self._writing])
        if not self._writing.cancelled():
            self._writing.result()

    def interrupt(self) -> None:
        """Fall silent, now; `leave` waits until the fleet knows."""
        self._writing.cancel()
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._block.leave())

    async def leave(self) -> None:
        """End it, and what was not heard of it. Idempotent."""
        self.interrupt()
        await asyncio.wait([self._writing])
        if self._leaving is not None:
            await self._leaving
