"""Time-outs for the first audio of a job or session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from speechfleet.chunks import Chunk
from speechfleet.errors import FirstAudioTimeout


async def first_audio_in_time(
    chunks: AsyncGenerator[Chunk, None], name: str, timeout_s: float
) -> AsyncGenerator[Chunk, None]:
    """Yield the chunks; raise FirstAudioTimeout where none with audio comes in time."""
    end: float | None = asyncio.get_running_loop().time() + timeout_s
    async with aclosing(chunks):
        while True:
            try:
                async with asyncio.timeout_at(end):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise no_first_audio(name, timeout_s) from None
            if chunk is None:
                return
            end = None if chunk.delta else end
            yield chunk


def no_first_audio(name: str, timeout_s: float) -> FirstAudioTimeout:
    """Make the error for a job or session whose first audio is late."""
    return FirstAudioTimeout(
        f"{name} gave no audio within {timeout_s:g} s; it goes on: listen again, or cancel it"
    )


class FirstAudioDeadline:
    """Waits until a session's first audio is late: so long after the latest text.

    Without new text a worker speaks even an unfinished sentence, after
    ``SPEECHFLEET_SESSION_PAUSE`` seconds, so audio is due then.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._text = asyncio.Event()

    def text_was_sent(self) -> None:
        """Count from now on."""
        self._text.set()

    async def pass_by(self) -> None:
        """Return when the time is over. Cancel it when audio has come."""
        await self._text.wait()
        while self._text.is_set():
            self._text.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.timeout_s):
                    await self._text.wait()
