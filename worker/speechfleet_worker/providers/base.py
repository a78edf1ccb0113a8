"""Base of all adapters: one async generator of bytes, and a description of the model.

An adapter subclasses `ProviderModel`, declares `capabilities` and writes `speak`. This base
turns that into the contract of `speechfleet.tts`: accumulated responses, the last flagged,
whole frames only, the four time-outs, and no silent success.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, SupportsInt, cast

from annotated_types import Ge, Le
from pydantic import ConfigDict, ValidationError

from speechfleet.audio.buffer import BYTES_PER_SAMPLE, AudioBuffer
from speechfleet.audio.media_type import check_shape, media_type_for
from speechfleet.errors import (
    IncompleteAudio,
    InvalidRequest,
    RequestRejected,
    UnknownOption,
)
from speechfleet.provider_values import printable
from speechfleet.settings import Settings, Timeouts
from speechfleet.strict_model import StrictModel
from speechfleet.tts import Msg, TTSModelBase, TTSResponse, TTSUsage
from speechfleet_worker.providers.timeouts import timed

MAX_COUNT = 1_000_000_000
"""The most tokens or characters that a server is believed to have counted in one call."""


@dataclass(frozen=True)
class Capabilities:
    """The abilities of a model that the fleet has to know.

    ``count`` counts what the provider bills, in ``unit``. ``input_limit`` is what one call may
    carry, as ``weight`` weighs a text; without it, ``count`` does. ``voices`` empty: the server
    has to be asked, or takes any. ``sample_rate`` in Hz is what the provider declares; the truth
    is read from each call.
    """

    input_limit: int = 4096
    unit: str = "characters"
    count: Callable[[str], int] = len
    weight: Callable[[str], int] | None = None
    sample_rate: int = 24_000
    default_voice: str = ""
    voices: tuple[str, ...] = ()
    voice_prefixes: tuple[str, ...] = ()
    """Beginnings of voices that are not listed: an account's own, cloned ones."""
    languages: tuple[str, ...] = ()
    streaming_input: bool = False
    streaming_output: bool = True
    metered: bool = False
    """Behind an account whose limits are not known: the fleet begins gently and finds them."""
    segment_gap: float = 0.0
    """Seconds of silence that belong between two segments, where the provider leaves none."""

    def weigh(self, text: str) -> int:
        """Weigh a text against ``input_limit``."""
        return (self.weight or self.count)(text)


@dataclass(frozen=True)
class Audio:
    """Bytes as they came: s16le PCM, any length, also odd (the base carries the rest over)."""

    data: bytes
    sample_rate: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word and its time in one call.

    Code points [text_start, text_end) of the text handed to `ProviderModel.speak` are heard from
    ``start`` to ``end``, in seconds of that call's audio.
    """

    text_start: int
    text_end: int
    start: float
    end: float


def placed(words: Iterable[SpokenWord], characters: int, seconds: float) -> tuple[SpokenWord, ...]:
    """Return words of a part of a call, which begins so many characters and seconds later."""
    return tuple(
        SpokenWord(
            word.text_start + characters, word.text_end + characters,
            word.start + seconds, word.end + seconds,
        )
        for word in words
    )  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Facts about a call beside its audio; later reports add to earlier ones."""

    usage: TTSUsage | None = None
    request_id: str = ""
    words: tuple[SpokenWord, ...] = ()
    """The words whose times became known, in the order of the text."""
    concurrent_limit: int = 0
    """Calls at once that the account allows, where the provider says so."""


class ProviderOptions(StrictModel):
    """The typed options of a provider; each adapter has a subclass. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderModel(TTSModelBase):
    """A model of one voice. Any number of `synthesize` calls may run at once on one loop."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    Options: ClassVar[type[ProviderOptions]] = ProviderOptions
    chooses_voice: ClassVar[bool] = False
    """Built with the ``language`` of the job's text, by which it chooses a voice."""

    def __init__(
        self,
        model_name: str,
        stream: bool = True,
        voice: str = "",
        timeouts: Timeouts | None = None,
        options: ProviderOptions | None = None,
    ) -> None:
        super().__init__(model_name, stream)
        self.voice = voice or self.describe(model_name).default_voice
        self.timeouts = timeouts or Timeouts()
        self.options = options or self.Options()

    @classmethod
    def describe(cls, model_name: str) -> Capabilities:
        """Describe one model, without building it and without its SDK.

        Override where models of one provider differ; `capabilities` is what holds for any.
        """
        return cls.capabilities

    @classmethod
    def language_of_voice(cls, voice: str) -> str:
        """Return the tag of the one language that a voice speaks; "" where it speaks any."""
        return ""

    @classmethod
    async def check_voice(cls, model_name: str, voice: str, settings: Settings) -> None:
        """Raise UnknownVoice, as far as it shows without a call. "" is the default voice."""

    @classmethod
    def spoken_by(cls, text: str, *, voice: str, language: str) -> tuple[str, ...]:
        """Name the models that speak a text, where this one leaves it to others; else none."""
        return ()

    @classmethod
    def rendering(cls, text: str, *, voice: str, language: str, settings: Settings) -> str:
        """Name what else shapes the audio of a text: a release, a seed; "" where nothing does.

        Beside model, voice and options it is hashed: audio of another rendering is not reused.
        """
        return ""

    @classmethod
    def speed_range(cls, model_name: str, options: Mapping[str, Any]) -> tuple[float, float]:
        """Return the slowest and the fastest ``speed`` that the provider speaks at itself.

        (1, 1) where it has no such option: the fleet stretches its audio. By default it is the
        range of the option `speed`, as far as there is one.
        """
        field = cls.Options.model_fields.get("speed")
        if field is None:
            return 1.0, 1.0
        bounds = {type(bound): bound for bound in field.metadata}
        slowest, fastest = bounds.get(Ge), bounds.get(Le)
        return (
            float(slowest.ge) if isinstance(slowest, Ge) else 0.0,  # type: ignore[arg-type]
            float(fastest.le) if isinstance(fastest, Le) else math.inf,  # type: ignore[arg-type]
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Mapping[str, Any]:
        """Further arguments of the constructor that come from the fleet's settings."""
        return {}

    async def list_voices(self) -> list[str]:
        """List the voices; ask the server where there is no list."""
        return sorted(self.describe(self.model_name).voices)

    async def list_models(self) -> list[str]:
        """Return the models that the server lists; [] where it cannot be asked."""
        return []

    def __repr__(self) -> str:
        # Not a dataclass's: the key must not be seen.
        return f"{type(self).__name__}({self.model_name!r}, voice={self.voice!r})"

    @asynccontextmanager
    async def conversation(self) -> AsyncGenerator[ProviderModel, None]:
        """Open a model for several texts that belong together, each with its `synthesize`.

        It is this one, unless an adapter can speak them over one connection, which it opens now
        and not with the first text; `synthesize` raises the errors of that connection.
        """
        yield self

    @property
    def speaks_as_pushed(self) -> bool:
        """Tell whether a session pushes text as it comes, and the provider decides when to speak.

        Text and audio then align only at the end: what is lost is spoken from the beginning.
        """
        return False

    @abstractmethod
    def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        """Make one call: yield the audio of ``text`` (not empty, within the limit) as it arrives.

        Raises ProviderError, mapped and with ``retryable`` decided. Returning means that the
        provider said it was done. Closing the generator closes the connection at once.
        """

    def with_options(self, **changes: Any) -> Self:
        """Return a model of the same account with other options (and ``voice``).

        Raises UnknownOption, and InvalidRequest naming an option with a wrong value.
        """
        clone = copy(self)
        clone.voice = str(changes.pop("voice", None) or self.voice)
        changed = {**self.options.model_dump(exclude_unset=True), **changes}
        clone.options = validated_options(self.Options, changed)
        clone.take_options()
        return clone

    def take_options(self) -> None:
        """Derive what depends on the options; an adapter that does so overrides this."""

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        """Speak a text; see `TTSModelBase.synthesize`. Keywords are options for this call.

        Without a message there is nothing to stream: one response without audio.
        """
        if kwargs:
            return await self.with_options(**kwargs).synthesize(msg)
        if msg is None:
            return TTSResponse()
        responses = self._responses(msg.text())
        if self.stream:
            return responses
        last = TTSResponse()
        async with aclosing(responses):
            async for response in responses:
                last = response
        return last

    async def _responses(self, text: str) -> AsyncGenerator[TTSResponse, None]:
        call = Utterance()
        if text.strip():
            async with aclosing(timed(self.speak(text), self.timeouts, _is_audio)) as parts:
                async for part in parts:
                    if isinstance(part, Report):
                        call.report(part)
                    elif call.take(part):
                        yield call.response(is_last=False)
            call.check_complete()
        yield call.response(is_last=True)


@dataclass
class Utterance:
    """The audio and the reports of one call, as far as they came."""

    buffer: AudioBuffer = field(default_factory=AudioBuffer)
    odd: bytes = b""
    sample_rate: int | None = None
    channels: int = 1
    media_type: str = media_type_for(24_000)
    usage: TTSUsage | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def take(self, audio: Audio) -> bool:
        """Append whole frames, carry the rest; whether anything was appended."""
        if (audio.sample_rate, audio.channels) != (self.sample_rate, self.channels):
            if self.sample_rate is not None:
                raise IncompleteAudio("the provider changed its sample rate within one call")
            try:
                check_shape(audio.sample_rate, audio.channels)
            except ValueError as error:
                raise RequestRejected(
                    f"the provider sent {error}", code="unsupported_audio"
                ) from None
            self.sample_rate, self.channels = audio.sample_rate, audio.channels
            self.media_type = media_type_for(audio.sample_rate, audio.channels)
        data = self.odd + audio.data if self.odd else audio.data
        whole = len(data) - len(data) % (BYTES_PER_SAMPLE * self.channels)
        self.odd = data[whole:]
        if whole:
            self.buffer.append(data[:whole])
        return whole > 0

    def report(self, report: Report) -> None:
        self.usage = report.usage or self.usage
        if report.request_id:
            self.metadata["request_id"] = printable(report.request_id)
        if report.concurrent_limit > 0:
            self.metadata["concurrent_limit"] = report.concurrent_limit
        if report.words:
            self.metadata["words"] = (*self.metadata.get("words", ()), *report.words)

    def check_complete(self) -> None:
        if self.odd:
            raise IncompleteAudio("the audio ended in the middle of a sample")
        if not len(self.buffer):
            raise IncompleteAudio("the provider answered without any audio")

    def response(self, *, is_last: bool) -> TTSResponse:
        response = TTSResponse.of(self.buffer, self.media_type, is_last=is_last, usage=self.usage)
        response.metadata = dict(self.metadata) or None
        return response


def bounded_count(value: object) -> int:
    """Read a number of tokens or characters as a server tells it; 0 where it is none."""
    try:
        count = int(cast("SupportsInt", value))
    except (TypeError, ValueError, OverflowError):
        return 0
    return min(max(count, 0), MAX_COUNT)


def validated_options(kind: type[ProviderOptions], options: Mapping[str, Any]) -> ProviderOptions:
    """Check options. Raises UnknownOption with near matches, InvalidRequest naming the value."""
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        for problem in problems:
            if problem["type"] == "extra_forbidden":
                raise unknown_option(str(problem["loc"][0]), kind.model_fields) from None
        where = ".".join(str(part) for part in problems[0]["loc"])
        raise InvalidRequest(f"option {where!r}: {problems[0]['msg']}") from None


def unknown_option(name: str, known: Iterable[str]) -> UnknownOption:
    """Make the error for an option that the model does not take."""
    names = list(known)
    return UnknownOption(name, names, note="" if names else "(the model takes none)")


def _is_audio(part: Audio | Report) -> bool:
    return isinstance(part, Audio)


def capabilities_of(model: TTSModelBase) -> Capabilities:
    """Return the abilities that a model's class declares; else the defaults."""
    if isinstance(model, ProviderModel):
        return model.describe(model.model_name)
    declared = getattr(model, "capabilities", None)
    return declared if isinstance(declared, Capabilities) else Capabilities()


def speaks_as_pushed(model: TTSModelBase) -> bool:
    """Tell whether the model takes text as it is pushed; see `ProviderModel`."""
    if isinstance(model, ProviderModel):
        return model.speaks_as_pushed
    return model.supports_streaming_input
