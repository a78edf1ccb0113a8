"""An audio object that is brought to a loudness, which is known once all of it is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from speechfleet.store.base import NewObject
from speechfleet_worker.output.audio_object import AudioObject, Stored
from speechfleet_worker.output.loudness import Amplifier, LoudnessMeter, gain_for

ReadAgain = Callable[[], AsyncGenerator[bytes, None]]
"""Yields all the audio of the job once more, from its stored segments."""


class LevelledObject:
    """Measures what is written; `commit` reads it again and stores it with one gain.

    ``target`` is in LUFS. The gain is the same from beginning to end, but where a limiter holds
    peaks below `TRUE_PEAK_DB`. Memory does not grow with the length.
    """

    def __init__(
        self, audio: AudioObject, sample_rate: int, target: float, read_again: ReadAgain
    ) -> None:
        self._audio = audio
        self._rate = sample_rate
        self._target = target
        self._read_again = read_again
        self._meter = LoudnessMeter(sample_rate)

    @property
    def key(self) -> str:
        """Return the object's key."""
        return self._audio.key

    async def write(self, parts: Sequence[bytes]) -> None:
        """Measure PCM, given in any number of parts."""
        await asyncio.to_thread(self._meter.feed, b"".join(parts))

    def describe(self, name: str, value: str) -> None:
        """Add to the object's metadata, before it is stored."""
        self._audio.describe(name, value)

    async def commit(self, beside: NewObject | None = None) -> Stored:
        """Store the object with its gain. Raises StoreError."""
        loudness, true_peak = await asyncio.to_thread(self._meter.finish)
        gain = gain_for(self._target, loudness)
        amplifier = Amplifier(self._rate, gain, true_peak)
        async with aclosing(self._read_again()) as pieces:
            async for pcm in pieces:
                await self._audio.write([await asyncio.to_thread(amplifier.feed, pcm)])
        await self._audio.write([await asyncio.to_thread(amplifier.finish)])
        return replace(await self._audio.commit(beside), gain=gain)

    async def abort(self) -> None:
        """Leave nothing behind."""
        await self._audio.abort()
