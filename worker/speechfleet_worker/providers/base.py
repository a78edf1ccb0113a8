"""What an adapter is: one async generator of bytes, and a description of what it can do.

An adapter subclasses `ProviderModel`, declares `capabilities` and writes `speak`. This base
turns that into the contract of `speechfleet.tts`: accumulated responses, the last flagged,
whole frames only, the four time-outs, and no silent success.
"""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from speechfleet.errors import IncompleteAudio, ProviderTimeout
from speechfleet.settings import Settings, Timeouts
from speechfleet.tts import BYTES_PER_SAMPLE, AudioBuffer, Msg, TTSModelBase, TTSResponse, TTSUsage


@dataclass(frozen=True)
class Capabilities:
    """What a model can do, as far as the fleet has to know.

    ``input_limit`` counts in ``unit``, by ``count``; it is what one call may carry. ``voices``
    empty: the server has to be asked, or takes any. ``sample_rate`` in Hz is what the provider
    declares; the truth is read from each call.
    """

    input_limit: int = 4096
    unit: str = "characters"
    count: Callable[[str], int] = len
    sample_rate: int = 24_000
    default_voice: str = ""
    voices: tuple[str, ...] = ()
    voice_prefixes: tuple[str, ...] = ()
    """How the voices begin that are not listed: an account's own, cloned ones."""
    languages: tuple[str, ...] = ()
    streaming_input: bool = False
    streaming_output: bool = True
    metered: bool = False
    """Behind an account whose limits are not known: the fleet begins gently and finds them."""
    segment_gap: float = 0.0
    """Seconds of silence that belong between two segments, where the provider leaves none."""


def media_type_for(sample_rate: int, channels: int = 1) -> str:
    """``audio/pcm;rate=24000``, with the channels where they are not one."""
    return f"audio/pcm;rate={sample_rate}" + (f";channels={channels}" if channels != 1 else "")


def media_type_of(media_type: str, sample_rate: int = 24_000) -> tuple[int, int]:
    """(rate, channels) as a media type tells them: ``audio/L16; rate=16000; channels=1``.

    Where it tells no rate, it is ``sample_rate``; where it tells no channels, one.
    """
    parameters = dict(re.findall(r";\s*(rate|channels)=\"?(\d+)", media_type))
    return int(parameters.get("rate", sample_rate)), int(parameters.get("channels", 1))


@dataclass(frozen=True)
class Audio:
    """Bytes as they came: s16le PCM, any length, also odd (the base carries the rest over)."""

    data: bytes
    sample_rate: int
    channels: int = 1


@dataclass(frozen=True)
class Report:
    """What else a call told: any part at any time; later parts add to earlier ones."""

    usage: TTSUsage | None = None
    request_id: str = ""
    words: tuple[tuple[int, int, int], ...] = ()
    """(start, end) in code points of the text, and the millisecond at which it is spoken."""


class ProviderOptions(BaseModel):
    """The typed options of a provider; each adapter has a subclass. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderModel(TTSModelBase):
    """A model of one voice. Any number of `synthesize` calls may run at once on one loop."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    Options: ClassVar[type[ProviderOptions]] = ProviderOptions

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
        """What this one model can do, without building it and without its SDK.

        Override where models of one provider differ; `capabilities` is what holds for any.
        """
        return cls.capabilities

    @classmethod
    def from_settings(cls, settings: Settings) -> Mapping[str, Any]:
        """Further arguments of the constructor that come from the fleet's settings."""
        return {}

    async def list_voices(self) -> list[str]:
        """The voices there are, asking the server where there is no list."""
        return sorted(self.describe(self.model_name).voices)

    def __repr__(self) -> str:
        # Not a dataclass's: the key must not be seen.
        return f"{type(self).__name__}({self.model_name!r}, voice={self.voice!r})"

    @asynccontextmanager
    async def conversation(self) -> AsyncGenerator[ProviderModel, None]:
        """A model for several texts that belong together, each with a `synthesize` of its own.

        This one, unless an adapter can speak them over one connection, which it opens now and
        not with the first text. Errors of it are raised by `synthesize`.
        """
        yield self

    @property
    def speaks_as_pushed(self) -> bool:
        """Whether a session pushes its text as it comes, and the provider decides when to speak.

        Text and audio then align only at the end: what is lost is spoken from the beginning.
        """
        return False

    @abstractmethod
    def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        """One call: the audio of ``text`` (not empty, within the limit) as it arrives.

        Raises ProviderError, mapped and with ``retryable`` decided. Returning means that the
        provider said it was done. Closing the generator closes the connection at once.
        """

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        responses = self._responses(msg.text() if msg else "")
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
            async with aclosing(timed(self.speak(text), self.timeouts)) as parts:
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
    sample_rate: int = 0
    channels: int = 1
    media_type: str = media_type_for(24_000)
    usage: TTSUsage | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def take(self, audio: Audio) -> bool:
        """Append whole frames, carry the rest; whether anything was appended."""
        if audio.sample_rate != self.sample_rate or audio.channels != self.channels:
            if self.sample_rate:
                raise IncompleteAudio("the provider changed its sample rate within one call")
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
            self.metadata["request_id"] = report.request_id
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


def capabilities_of(model: TTSModelBase) -> Capabilities:
    """An adapter's own; those that somebody's own class declares; else the defaults."""
    if isinstance(model, ProviderModel):
        return model.describe(model.model_name)
    declared = getattr(model, "capabilities", None)
    return declared if isinstance(declared, Capabilities) else Capabilities()


def speaks_as_pushed(model: TTSModelBase) -> bool:
    """See `ProviderModel`; somebody's own class does so if it takes streaming input."""
    if isinstance(model, ProviderModel):
        return model.speaks_as_pushed
    return model.supports_streaming_input


async def timed(
    parts: AsyncGenerator[Audio | Report, None], timeouts: Timeouts
) -> AsyncGenerator[Audio | Report, None]:
    """The same parts, or ProviderTimeout naming which of the time-outs passed."""
    watch = Watch(timeouts)
    async with aclosing(parts):
        try:
            while True:
                with watch:
                    part = await anext(parts)
                if isinstance(part, Audio):
                    watch.limit, watch.what = timeouts.silence, "silence between chunks"
                yield part
        except StopAsyncIteration:
            return
        finally:
            watch.close()


class Watch:
    """Each ``with`` is one wait, cancelled when its time is over.

    `asyncio.timeout` would do, were it not that a timer for each chunk costs as much as the
    chunk itself. Here one timer serves a whole call: it looks at the deadline when it rings,
    and as a rule finds it moved on.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.limit, self.what = timeouts.first_audio, "first audio"
        self._call = timeouts.call
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + timeouts.call
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._expired = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._deadline = min(self._loop.time() + self.limit, self._end)
        if self._timer is None or self._timer.when() > self._deadline:
            self._ring_at_deadline()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if not self._expired or task is None:
            return
        # As in `asyncio.timeout`: somebody else's cancellation goes before ours.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            whole = self._deadline == self._end
            name, seconds = ("whole call", self._call) if whole else (self.what, self.limit)
            raise ProviderTimeout(f"{name}: nothing came within {seconds:g} s") from None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _ring_at_deadline(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:  # nobody waits now; the next wait sets the timer again
            return
        if self._loop.time() < self._deadline:
            self._ring_at_deadline()
        else:
            self._expired = True
            self._task.cancel()
