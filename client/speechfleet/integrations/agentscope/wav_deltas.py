"""The audio of one utterance, cut as AgentScope 2 hands it on: a WAV that grows."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing

from agentscope.message import Base64Source, DataBlock

from speechfleet.audio import wav
from speechfleet.chunks import Chunk

MEDIA_TYPE = "audio/wav"
"""The only one that AgentScope's web interface plays while it comes."""
HELD_BACK_S = 0.25
"""Seconds of audio that a delta holds at least, where another one is sure to be asked for."""
PAUSE_S = 0.1
"""Between two deltas: clients decode all audio again for each, and what came meanwhile is one."""


class WavDeltas:
    """Cuts the audio of one utterance into deltas; the first one holds the header."""

    def __init__(self) -> None:
        self._given = 0

    def after(self, chunk: Chunk, *, at_least_s: float = 0.0) -> bytes:
        """Return what is new in an accumulated chunk, or nothing while that is too little."""
        new = chunk.total - self._given
        if new <= 0 or (self._given and new < at_least_s * 2 * chunk.sample_rate):
            return b""
        data = bytes(chunk.audio[self._given :])
        if not self._given:
            data = wav.header(wav.UNKNOWN_SIZE, chunk.sample_rate) + data
        self._given = chunk.total
        return data

    async def all_after(self, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[bytes, None]:
        """Yield the deltas of accumulated chunks, the first at once, to the end."""
        async with aclosing(chunks):
            async for chunk in chunks:
                if data := self.after(chunk):
                    yield data
                    if not chunk.is_last:
                        await asyncio.sleep(PAUSE_S)


def encoded(data: bytes) -> str:
    """Encode a delta by itself, with its own padding."""
    return b64encode(data).decode("ascii")


def block_of(data: bytes) -> DataBlock | None:
    """Wrap a delta as AgentScope's responses hold it; None where it is empty."""
    if not data:
        return None
    return DataBlock(source=Base64Source(data=encoded(data), media_type=MEDIA_TYPE))
