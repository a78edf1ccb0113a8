"""hibari: a natural English voice without a key, without a server, on this machine.

It speaks some hundred times faster than real time on one core, a sentence at a time, all calls
of a process one after the other: see `hibari.library`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.errors import RequestRejected, UnknownModel, UnknownVoice
from speechfleet.settings import Settings, Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
    placed,
)
from speechfleet_worker.providers.hibari import library
from speechfleet_worker.providers.hibari.library import (
    SAMPLE_RATE,
    VOICE,
    Utterance,
)
from speechfleet_worker.segmentation import TextSegment, cut
from speechfleet_worker.segmentation.language import latin_share

MODEL = VOICE
LEAST_LATIN = 0.5
"""The share of a text's letters that must be Latin: others it leaves out, or spells."""


class HibariOptions(ProviderOptions):
    """The one knob of hibari."""

    speed: float = Field(1.0, ge=0.25, le=4.0, description="times the usual pace")


class HibariTTSModel(ProviderModel):
    """Speak English with hibari, in the voice ``heart``.

    Constructing raises MissingExtra where the library is not installed. Speaking raises
    RequestRejected for a text in another script than Latin, and for one of which nothing can be
    heard. The words of the text come with their times.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        # Bounds the audio that a call holds in memory: a minute.
        input_limit=1000,
        sample_rate=SAMPLE_RATE,
        default_voice=VOICE,
        languages=("en",),
    )
    Options: ClassVar[type[ProviderOptions]] = HibariOptions
    options: HibariOptions

    def __init__(
        self,
        model_name: str = MODEL,
        stream: bool = True,
        voice: str = "",
        timeouts: Timeouts | None = None,
        options: ProviderOptions | None = None,
        *,
        files: Mapping[str, Path] | None = None,
    ) -> None:
        """``files``: ONNX files of further voices, by name.

        Raises MissingExtra, UnknownModel, UnknownVoice.
        """
        library.require()
        super().__init__(model_name, stream, voice or model_name, timeouts, options)
        self._files = dict(files or {})
        _check(model_name, voice, self._files)

    @classmethod
    def from_settings(cls, settings: Settings) -> Mapping[str, Any]:
        return {"files": settings.hibari_voices}

    @property
    def language(self) -> str:
        """Return the tag of the language that it speaks, for the rules of sentences."""
        return self.language_of_voice(self.voice)

    @classmethod
    def language_of_voice(cls, voice: str) -> str:
        """Return "en"."""
        return "en"

    @classmethod
    async def check_voice(cls, model_name: str, voice: str, settings: Settings) -> None:
        """Raise UnknownModel, UnknownVoice; nothing is loaded."""
        _check(model_name, voice, settings.hibari_voices)

    @classmethod
    def rendering(cls, text: str, *, voice: str, language: str, settings: Settings) -> str:
        """Name the release, its seed, and the file of a voice that is not in the package."""
        file = settings.hibari_voices.get(voice or MODEL)
        name = f"{library.PACKAGE} {_release()} seed {library.SEED}"
        return name if file is None else f"{name} {_digest(file)}"

    async def list_voices(self) -> list[str]:
        return sorted({VOICE, *self._files})

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        """Yield the audio a sentence at a time, each followed by its words."""
        heard = 0.0
        for sentence in sentences(text, self.language):
            if not speaks(sentence.text):
                raise RequestRejected(
                    "this voice speaks English, and the text is in another script: "
                    f"{sentence.text[:30]!r}; name another model, such as espeak/espeak-ng",
                    code="language_not_spoken",
                )
            spoken = await self._spoken(sentence.text)
            if spoken.pcm:
                yield Audio(spoken.pcm, SAMPLE_RATE)
                yield Report(words=placed(spoken.words, sentence.start, heard))
                heard += len(spoken.pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE
        if not heard:
            raise RequestRejected(
                f"this voice finds nothing to say in {text[:30]!r}; name another model",
                code="nothing_heard",
            )
        yield Report(usage=TTSUsage(characters=len(text)))

    async def _spoken(self, sentence: str) -> Utterance:
        """Speak a sentence in the library's thread."""
        file = str(self._files.get(self.voice, ""))
        call = library.run(_speak, self.voice, file, sentence, self.options.speed)
        return await asyncio.wrap_future(call)


def sentences(text: str, language: str) -> Iterator[TextSegment]:
    """Cut a text into sentences: the unit in which it is spoken."""
    limit = HibariTTSModel.capabilities.input_limit
    return cut(text, mode="sentence", limit=limit, language=language)


def speaks(text: str) -> bool:
    """Tell whether hibari can read a text: its letters are Latin, for the most part."""
    return latin_share(text) >= LEAST_LATIN


def _check(model_name: str, voice: str, files: Mapping[str, Path]) -> None:
    known = sorted({VOICE, *files})
    if model_name not in known:
        raise UnknownModel(f"hibari/{model_name}", [f"hibari/{name}" for name in known])
    if voice and voice not in known:
        note = ""
        if voice in library.DOWNLOADED:
            note = "(it is not in the package: SPEECHFLEET_HIBARI_VOICES can name its file)"
        raise UnknownVoice(voice, known, note=note)


@cache
def _release() -> str:
    try:
        return version(library.PACKAGE)
    except PackageNotFoundError:  # asked for what workers elsewhere have stored
        return library.RELEASE


@cache
def _digest(file: Path) -> str:
    try:
        return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
    except OSError:  # the file of a worker elsewhere
        return file.name


def _speak(voice: str, file: str, sentence: str, speed: float) -> Utterance:
    return library.engine(voice, file).speak(sentence, speed)
