"""espeak-ng: a voice without a key, without a server, on this machine, in more than 100 languages.

It speaks several hundred times faster than real time, all calls of a process one after the
other: see `espeak_library`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from typing import ClassVar

from pydantic import Field

from speechfleet.errors import UnknownModel
from speechfleet.settings import Timeouts
from speechfleet.tts import BYTES_PER_SAMPLE, TTSUsage
from speechfleet_worker.providers import espeak_library
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
)
from speechfleet_worker.providers.espeak_library import EspeakVoice, Take, Words
from speechfleet_worker.segments import Segment, cut

MODEL = "espeak-ng"
PART = 256 << 10
"""Bytes of the longest part in which audio comes from the library's thread: 6 s."""
GROWTH = 32
"""A part is at most so many times as long as all that went before it."""


class EspeakOptions(ProviderOptions):
    """The knobs of espeak-ng, in its own units."""

    rate: int = Field(175, ge=80, le=450, description="words a minute")
    pitch: int = Field(50, ge=0, le=99)
    volume: int = Field(100, ge=0, le=200)
    gap: int = Field(0, ge=0, le=500, description="pause between words, in 10 ms")


class EspeakTTSModel(ProviderModel):
    """``voice``: a tag such as ``en-us``, ``de`` or ``zh``; ``en-us+f3`` for a variant of it.

    Constructing raises MissingExtra where the library is not installed; speaking raises
    UnknownVoice. The words of the text come with their times, in ``metadata["words"]``.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        # Bounds what a call holds in memory, and how long the others wait for their turn.
        input_limit=1000,
        sample_rate=22_050,
        default_voice="en-us",
        segment_gap=0.2,
    )
    Options: ClassVar[type[ProviderOptions]] = EspeakOptions
    options: EspeakOptions

    def __init__(
        self,
        model_name: str = MODEL,
        stream: bool = True,
        voice: str = "",
        timeouts: Timeouts | None = None,
        options: ProviderOptions | None = None,
    ) -> None:
        espeak_library.require()
        if model_name != MODEL:
            raise UnknownModel(model_name, [MODEL])
        super().__init__(model_name, stream, voice, timeouts, options)

    @property
    def language(self) -> str:
        """The tag that the voice begins with, for the rules of sentences."""
        return self.voice.partition("+")[0]

    @classmethod
    def voices(cls) -> list[EspeakVoice]:
        """(id, language, name) of every voice. Loads the library; blocks while it speaks."""
        return espeak_library.run(_voices).result()

    async def list_voices(self) -> list[str]:
        voices = await asyncio.wrap_future(espeak_library.run(_voices))
        return sorted(voice.id for voice in voices)

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        """The audio as it is made; text above the limit is spoken in turns of one limit each.

        What a call has not yet taken waits for it in memory, at most one turn of it: if the
        library waited instead, one slow listener would silence all the others.
        """
        rate = self.capabilities.sample_rate
        heard = 0  # samples
        for turn in self._turns(text):
            if turn.index:
                gap = int(rate * self.capabilities.segment_gap)
                yield Audio(bytes(BYTES_PER_SAMPLE * gap), rate)
                heard += gap
            began = heard * 1000 // rate
            async with aclosing(self._spoken(turn.text)) as parts:
                async for audio, words in parts:
                    if audio:
                        heard += len(audio) // BYTES_PER_SAMPLE
                        yield Audio(audio, rate)
                    if words:
                        yield Report(words=_shifted(words, turn.start, began))
        yield Report(usage=TTSUsage(characters=len(text)))

    def _turns(self, text: str) -> Iterator[Segment]:
        limit = self.capabilities.input_limit
        if len(text) <= limit:
            return iter([Segment(0, 0, len(text), text)])
        return cut(text, mode="paragraph", limit=limit, language=self.language)

    async def _spoken(self, text: str) -> AsyncGenerator[tuple[bytes, Words], None]:
        bridge = _Bridge()
        call = espeak_library.run(_speak, text, self.voice, self.options.model_dump(), bridge.take)
        call.add_done_callback(bridge.end)
        try:
            async for part in bridge.parts():
                yield part
            call.result()
        finally:
            bridge.is_open = False
            call.cancel()


class _Bridge:
    """From the library's thread to the loop it was made on.

    The library is far faster than real time, and waking the loop for each 200 ms would cost as
    much as speaking them. So parts grow, up to `PART`: the library makes the next one while
    whoever listens plays a small share of what went before it.
    """

    def __init__(self) -> None:
        self.is_open = True
        self._loop = asyncio.get_running_loop()
        self._parts: asyncio.Queue[tuple[bytes, Words] | None] = asyncio.Queue()
        self._audio: list[bytes] = []
        self._words: list[tuple[int, int, int]] = []
        self._held = 0
        self._given = 0

    def take(self, audio: bytes, words: Words) -> bool:
        """Whether anybody wants more."""
        self._audio.append(audio)
        self._words += words
        self._held += len(audio)
        return self.is_open and (self._held < min(GROWTH * self._given, PART) or self._give())

    def end(self, _: Future[None]) -> None:
        self._put(self._taken(), None)

    async def parts(self) -> AsyncGenerator[tuple[bytes, Words], None]:
        """What was made, in order, up to the end."""
        while part := await self._parts.get():
            yield part

    def _give(self) -> bool:
        self._given += self._held
        self._held = 0
        return self._put(self._taken())

    def _taken(self) -> tuple[bytes, Words]:
        part = b"".join(self._audio), tuple(self._words)
        self._audio.clear()
        self._words.clear()
        return part

    def _put(self, *parts: tuple[bytes, Words] | None) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._queue, parts)
        except RuntimeError:  # the loop was closed: nobody listens any more
            return False
        return True

    def _queue(self, parts: tuple[tuple[bytes, Words] | None, ...]) -> None:
        for part in parts:
            self._parts.put_nowait(part)


def _voices() -> list[EspeakVoice]:
    return list(espeak_library.library().voices)


def _speak(text: str, voice: str, parameters: dict[str, int], take: Take) -> None:
    espeak_library.library().speak(text, voice, parameters, take)


def _shifted(words: Words, characters: int, milliseconds: int) -> Words:
    return tuple((a + characters, b + characters, t + milliseconds) for a, b, t in words)
