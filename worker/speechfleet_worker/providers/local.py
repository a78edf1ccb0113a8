"""The voices of this machine under one name: each text by the one that speaks its language.

hibari speaks English, and espeak-ng every other language; without hibari, espeak-ng speaks all.
This is the model of a request that names none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache, lru_cache
from itertools import groupby
from typing import ClassVar, NamedTuple

from pydantic import Field

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.codecs import Resampler
from speechfleet.errors import RequestRejected, SpeechFleetError, UnknownModel, UnknownVoice
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
from speechfleet_worker.providers.espeak.model import MODEL as ESPEAK_MODEL
from speechfleet_worker.providers.espeak.model import EspeakOptions, EspeakTTSModel
from speechfleet_worker.providers.hibari import library as hibari
from speechfleet_worker.providers.hibari.model import HibariOptions, HibariTTSModel, speaks
from speechfleet_worker.segmentation import cut
from speechfleet_worker.segmentation.language import (
    guess_language,
    is_written_in_latin,
    primary_tag,
)

MODEL = "auto"
HIBARI = f"hibari/{hibari.VOICE}"
ESPEAK = f"espeak/{ESPEAK_MODEL}"
ENGLISH = "en"


class Choice(NamedTuple):
    """The model that speaks a text, and its voice."""

    model: str
    voice: str

    def __str__(self) -> str:
        return self.model if self.model == HIBARI else f"{self.model} ({self.voice})"


class Run(NamedTuple):
    """Sentences of a text that one voice speaks; ``start``: their first code point in it."""

    start: int
    text: str
    choice: Choice


def choose(text: str, *, voice: str = "", language: str = "") -> Choice:
    """Choose who speaks a text. ``language``: of the whole job, as a tag; "" where unknown.

    A text in another script than its job is spoken in its own language. Where nothing shows the
    language, it is English.
    """
    if voice:
        return Choice(HIBARI if voice == hibari.VOICE else ESPEAK, voice)
    own = guess_language(text)
    is_latin = is_written_in_latin(language)
    if is_latin is False and speaks(text) and any(map(str.isalpha, text)):
        tag = own or ENGLISH
    elif is_latin and own and not speaks(text):
        tag = own
    else:
        tag = language or own or ENGLISH
    if primary_tag(tag) != ENGLISH:
        return Choice(ESPEAK, tag)
    if _has_hibari() and speaks(text):
        return Choice(HIBARI, hibari.VOICE)
    return Choice(ESPEAK, tag)


@lru_cache(maxsize=256)
def runs(text: str, voice: str, language: str) -> tuple[Run, ...]:
    """Divide a text between the voices, sentence by sentence; mostly one speaks all of it."""
    limit = LocalTTSModel.capabilities.input_limit
    chosen = [
        (sentence.start, sentence.end, choose(sentence.text, voice=voice, language=language))
        for sentence in cut(text, mode="sentence", limit=limit, language=language)
    ]
    by_choice = [list(run) for _, run in groupby(chosen, key=lambda sentence: sentence[2])]
    if len(by_choice) <= 1:
        choice = chosen[0][2] if chosen else choose(text, voice=voice, language=language)
        return (Run(0, text, choice),)
    return tuple(Run(run[0][0], text[run[0][0] : run[-1][1]], run[0][2]) for run in by_choice)


class LocalOptions(ProviderOptions):
    """The knob that both voices have."""

    speed: float = Field(1.0, ge=0.25, le=4.0, description="times the usual pace")


class LocalTTSModel(ProviderModel):
    """Speak with the voice of this machine that knows the language; see `choose`.

    ``voice``: ``heart``, or one of espeak-ng's, speaks everything. ``language``: a tag of the
    language that most of the texts are in; "" lets each text tell its own. Constructing raises
    MissingExtra where espeak-ng is not installed; speaking raises RequestRejected for a language
    that no voice speaks.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(input_limit=1000, sample_rate=24_000)
    Options: ClassVar[type[ProviderOptions]] = LocalOptions
    chooses_voice: ClassVar[bool] = True
    options: LocalOptions

    def __init__(
        self,
        model_name: str = MODEL,
        stream: bool = True,
        voice: str = "",
        timeouts: Timeouts | None = None,
        options: ProviderOptions | None = None,
        *,
        language: str = "",
    ) -> None:
        EspeakTTSModel()  # raises MissingExtra
        if voice == hibari.VOICE:
            hibari.require()
        if model_name != MODEL:
            raise UnknownModel(f"local/{model_name}", [f"local/{MODEL}"])
        super().__init__(model_name, stream, voice, timeouts, options)
        self.language = language

    @classmethod
    def language_of_voice(cls, voice: str) -> str:
        if not voice:
            return ""
        kind = HibariTTSModel if voice == hibari.VOICE else EspeakTTSModel
        return kind.language_of_voice(voice)

    @classmethod
    async def check_voice(cls, model_name: str, voice: str, settings: Settings) -> None:
        """Raise UnknownVoice, UnknownModel."""
        if model_name != MODEL:
            raise UnknownModel(f"local/{model_name}", [f"local/{MODEL}"])
        if voice and voice != hibari.VOICE:
            await EspeakTTSModel.check_voice(ESPEAK_MODEL, voice, settings)

    @classmethod
    def spoken_by(cls, text: str, *, voice: str, language: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(run.choice) for run in runs(text, voice, language)))

    @classmethod
    def rendering(cls, text: str, *, voice: str, language: str, settings: Settings) -> str:
        """Name who speaks the text, with the release of a voice that has one."""
        speakers = cls.spoken_by(text, voice=voice, language=language)
        release = HibariTTSModel.rendering(text, voice="", language="", settings=settings)
        return ", ".join(release if name == HIBARI else name for name in speakers)

    async def list_voices(self) -> list[str]:
        own = [hibari.VOICE] if _has_hibari() else []
        return own + await EspeakTTSModel().list_voices()

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        """Yield what the chosen voices say, at one sample rate."""
        divided = runs(text, self.voice, self.language)
        models = [self._model(run.choice) for run in divided]
        rate = max(model.capabilities.sample_rate for model in models)
        heard = 0  # samples
        for run, model in zip(divided, models, strict=True):
            began = heard / rate
            try:
                async with aclosing(_at_rate(model, run.text, rate)) as parts:
                    async for part in parts:
                        if isinstance(part, Audio):
                            heard += len(part.data) // BYTES_PER_SAMPLE
                            yield part
                        elif part.words:
                            yield Report(words=placed(part.words, run.start, began))
            except UnknownVoice as error:
                raise self._unspoken(run, error) from error
        yield Report(usage=TTSUsage(characters=len(text)))

    def _unspoken(self, run: Run, error: UnknownVoice) -> SpeechFleetError:
        """Make the error for a language that no voice speaks, or a voice that was named."""
        if self.voice:
            return error
        return RequestRejected(
            f"no voice of this machine speaks the language {run.choice.voice!r} of "
            f"{run.text[:30]!r}; name a model that does",
            code="language_not_spoken",
        )

    def _model(self, choice: Choice) -> ProviderModel:
        given = self.options.model_dump(exclude_unset=True)
        if choice.model == HIBARI:
            return HibariTTSModel(options=HibariOptions(**given))
        return EspeakTTSModel(voice=choice.voice, options=EspeakOptions(**given))


async def _at_rate(
    model: ProviderModel, text: str, rate: int
) -> AsyncGenerator[Audio | Report, None]:
    """Yield what a model says at another sample rate, and the silence behind it that it omits."""
    own = model.capabilities.sample_rate
    resampler = None if own == rate else Resampler(own, rate)
    async with aclosing(model.speak(text)) as parts:
        async for part in parts:
            if isinstance(part, Report) or resampler is None:
                yield part
            elif data := resampler.feed(part.data):
                yield Audio(data, rate)
    if resampler is not None:
        yield Audio(resampler.flush(), rate)
    if gap := model.capabilities.segment_gap:
        yield Audio(bytes(BYTES_PER_SAMPLE * int(rate * gap)), rate)


@cache
def _has_hibari() -> bool:
    return hibari.is_installed()
