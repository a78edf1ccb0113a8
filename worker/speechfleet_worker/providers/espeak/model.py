"""espeak-ng: a voice without a key, without a server, on this machine, in more than 100 languages.

It speaks several hundred times faster than real time, all calls of a process one after the
other: see `espeak_library`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import Field

from speechfleet import espeak_library as library
from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.errors import UnknownModel
from speechfleet.espeak_library import EspeakVoice, Take, Words
from speechfleet.settings import Settings, Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
    SpokenWord,
)
from speechfleet_worker.segmentation import TextSegment, cut

MODEL = "espeak-ng"
PART = 256 << 10
"""Bytes of the longest part in which audio comes from the library's thread: 6 s."""
GROWTH = 32
"""A part is at most so many times as long as all that went before it."""


SLOWEST, FASTEST = 80, 450
"""Words a minute between which the library speaks."""


class EspeakOptions(ProviderOptions):
    """The knobs of espeak-ng, in its own units."""

    rate: int = Field(175, ge=SLOWEST, le=FASTEST, description="words a minute")
    speed: float = Field(1.0, ge=0.25, le=4.0, description="times the rate, within its bounds")
    pitch: int = Field(50, ge=0, le=99)
    volume: int = Field(100, ge=0, le=200)
    gap: int = Field(0, ge=0, le=500, description="pause between words, in 10 ms")

    def parameters(self) -> dict[str, int]:
        """Return the library's parameters; speed is a factor of the rate."""
        rate = min(FASTEST, max(SLOWEST, round(self.rate * self.speed)))
        return {"rate": rate, "pitch": self.pitch, "volume": self.volume, "gap": self.gap}


class EspeakTTSModel(ProviderModel):
    """Speak with espeak-ng; ``voice`` is a tag such as ``en-us``, or ``en-us+f3`` for a variant.

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
        library.require()
        if model_name != MODEL:
            raise UnknownModel(model_name, [MODEL])
        super().__init__(model_name, stream, voice, timeouts, options)

    @property
    def language(self) -> str:
        """Return the tag that the voice begins with, for the rules of sentences."""
        return self.language_of_voice(self.voice)

    @classmethod
    def language_of_voice(cls, voice: str) -> str:
        """Return the language tag of a voice."""
        return voice.partition("+")[0]

    @classmethod
    def speed_range(cls, model_name: str, options: Mapping[str, Any]) -> tuple[float, float]:
        """Return the range that the library reaches from the rate that is asked for."""
        rate = options.get("rate", EspeakOptions().rate)
        if not isinstance(rate, int) or not SLOWEST <= rate <= FASTEST:
            return 1.0, 1.0  # the option is refused when it is read
        return SLOWEST / rate, FASTEST / rate

    @classmethod
    async def check_voice(cls, model_name: str, voice: str, settings: Settings) -> None:
        """Raise UnknownVoice, UnknownModel. Loads the library."""
        if model_name != MODEL:
            raise UnknownModel(model_name, [MODEL])
        if voice:
            await asyncio.wrap_future(library.run(_check_voice, voice))

    @classmethod
    def voices(cls) -> list[EspeakVoice]:
        """(id, language, name) of every voice. Loads the library; blocks while it speaks."""
        return library.run(_voices).result()

    async def list_voices(self) -> list[str]:
        voices = await asyncio.wrap_future(library.run(_voices))
        return sorted(voice.id for voice in voices)

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        """Yield the audio as it is made; a text above the limit is spoken in several turns.

        Audio that a call has not yet taken waits in memory, at most one turn of it: if the
        library waited instead, one slow listener would silence all the others.
        """
        rate = self.capabilities.sample_rate
        heard = 0  # samples
        words = _OpenEnded()
        for turn in self._turns(text):
            if turn.index:
                gap = int(rate * self.capabilities.segment_gap)
                yield Audio(bytes(BYTES_PER_SAMPLE * gap), rate)
                heard += gap
            began = heard / rate
            async with aclosing(self._spoken(turn.text)) as parts:
                async for audio, begun in parts:
                    if audio:
                        heard += len(audio) // BYTES_PER_SAMPLE
                        yield Audio(audio, rate)
                    if ended := words.begin(begun, turn.start, began):
                        yield Report(words=ended)
            if ended := words.end(heard / rate):
                yield Report(words=ended)
        yield Report(usage=TTSUsage(characters=len(text)))

    def _turns(self, text: str) -> Iterator[TextSegment]:
        limit = self.capabilities.input_limit
        if len(text) <= limit:
            return iter([TextSegment(0, 0, len(text), text)])
        return cut(text, mode="paragraph", limit=limit, language=self.language)

    async def _spoken(self, text: str) -> AsyncGenerator[tuple[bytes, Words], None]:
        bridge = _Bridge()
        call = library.run(_speak, text, self.voice, self.options.parameters(), bridge.take)
        call.add_done_callback(bridge.end)
        try:
            async for part in bridge.parts():
                yield part
            call.result()
        finally:
            bridge.is_open = False
            call.cancel()


class _OpenEnded:
    """Turns beginnings of words into words: each lasts until the next one, or the turn's end."""

    def __init__(self) -> None:
        self._open: tuple[int, int, float] | None = None

    def begin(self, words: Words, characters: int, seconds: float) -> tuple[SpokenWord, ...]:
        """Take the words that begin, counted from a turn's start; return those that ended."""
        ended: list[SpokenWord] = []
        for start, end, milliseconds in words:
            at = seconds + milliseconds / 1000
            ended += self.end(at)
            self._open = start + characters, end + characters, at
        return tuple(ended)

    def end(self, at: float) -> tuple[SpokenWord, ...]:
        """End the word that is spoken now, if there is one."""
        word, self._open = self._open, None
        return () if word is None else (SpokenWord(*word, max(at, word[2])),)


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
        """Take audio in; tell whether anybody wants more."""
        self._audio.append(audio)
        self._words += words
        self._held += len(audio)
        return self.is_open and (self._held < min(GROWTH * self._given, PART) or self._give())

    def end(self, _: Future[None]) -> None:
        self._put(self._taken(), None)

    async def parts(self) -> AsyncGenerator[tuple[bytes, Words], None]:
        """Yield the parts in order, up to the end."""
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


def _check_voice(voice: str) -> None:
    library.library().check_voice(voice)


def _voices() -> list[EspeakVoice]:
    return list(library.library().voices)


def _speak(text: str, voice: str, parameters: dict[str, int], take: Take) -> None:
    library.library().speak(text, voice, parameters, take)
