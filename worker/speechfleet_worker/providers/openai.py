"""OpenAI's speech endpoint, and every server that imitates it.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field, field_validator

from speechfleet.audio.media_type import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from speechfleet.bounds import NAME_CHARACTERS
from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    MissingExtra,
)
from speechfleet.provider_values import printable
from speechfleet.settings import Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
    bounded_count,
)
from speechfleet_worker.providers.clients import LoopClients, account
from speechfleet_worker.providers.failures import (
    shown_address,
)
from speechfleet_worker.providers.openai_errors import mapped, not_audio, said
from speechfleet_worker.providers.pcm import PcmReader
from speechfleet_worker.providers.sse import decoded, event_in

if TYPE_CHECKING:
    from openai import AsyncAPIResponse, AsyncOpenAI

OLD_VOICES = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
VOICES = tuple(sorted((*OLD_VOICES, "ballad", "cedar", "marin", "verse")))
MODEL_VOICES: Mapping[str, tuple[str, ...]] = {"gpt-4o-mini-tts": VOICES, "tts-1": OLD_VOICES}
"""By the beginning of the model's name. Other models are other servers', voices unknown."""

MOST_NAMES = 10_000
"""Voices or models that are taken of a server's list."""
OWN_FIELDS = frozenset({"model", "input", "voice", "response_format", "stream_format", "stream"})
"""Fields that are counted, limited and priced: ``extra_body`` must not replace them."""


def _weight(text: str) -> int:
    """Count characters; 2000 tokens, of three bytes each, weigh as much as 4096 characters."""
    return max(len(text), len(text.encode("utf-8", "replace")) * 4096 // 6000)


class OpenAIOptions(ProviderOptions):
    """Options of `OpenAITTSModel` beside text and voice."""

    speed: float | None = Field(None, ge=0.25, le=4.0)
    instructions: str | None = Field(None, description="how to speak; not for tts-1*")
    response_format: Literal["pcm", "wav"] = Field(
        "pcm", description="wav where a server does not tell the rate of its PCM"
    )
    stream_format: Literal["sse"] | None = None
    sample_rate: int | None = Field(
        None,
        ge=MIN_SAMPLE_RATE,
        le=MAX_SAMPLE_RATE,
        description="of the server's raw PCM, in Hz",
    )
    extra_body: dict[str, Any] | None = Field(None, description="a server's own fields")

    @field_validator("extra_body")
    @classmethod
    def _adds_only(cls, extra: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in extra or {}:
            if name.lower() in OWN_FIELDS:
                raise ValueError(f"{name!r} is given by the request itself; leave it out here")
        return extra


class OpenAITTSModel(ProviderModel):
    """``POST /audio/speech``. Any number of calls at once, all on one client of the account.

    Raw chunked PCM is asked for unless ``stream_format="sse"``: audio flows from the first
    byte, without a third of base64 around it, and a body that is cut short is seen by its
    missing last chunk. Server-sent events are worth it where the token usage is wanted, or
    where a proxy hides the framing: there the word for "done" has to come.

    Without ``api_key`` and ``base_url``: OPENAI_API_KEY and OPENAI_BASE_URL.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        input_limit=4096,
        weight=_weight,
        sample_rate=24_000,
        default_voice="alloy",
        voice_prefixes=("voice_",),
        metered=True,
    )
    Options: ClassVar[type[ProviderOptions]] = OpenAIOptions
    _clients: ClassVar[LoopClients[AsyncOpenAI]] = LoopClients(lambda client: client.close())

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "gpt-4o-mini-tts",
        voice: str = "",
        stream: bool = True,
        client_kwargs: Mapping[str, Any] | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        *,
        base_url: str | None = None,
        sample_rate: int | None = None,
        timeouts: Timeouts | None = None,
        options: ProviderOptions | None = None,
    ) -> None:
        super().__init__(model_name, stream, voice, timeouts, options)
        self._key = api_key or os.environ.get("OPENAI_API_KEY", "")
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._address = shown_address(self._base_url or "https://api.openai.com/v1")
        self._client_arguments = {
            "api_key": self._key,
            "base_url": self._base_url,
            **(client_kwargs or {}),
            "max_retries": 0,  # retries have one owner, and that is the queue
        }
        self._account = account(self._client_arguments)
        self._generate_kwargs = dict(generate_kwargs or {})
        self._declared_rate = sample_rate or self.capabilities.sample_rate
        self.take_options()

    def take_options(self) -> None:
        options = cast("OpenAIOptions", self.options)
        self._fields = self._fields_of(options) | self._generate_kwargs
        self._sample_rate = options.sample_rate or self._declared_rate

    @classmethod
    def describe(cls, model_name: str) -> Capabilities:
        for beginning, voices in MODEL_VOICES.items():
            if model_name.startswith(beginning):
                return replace(cls.capabilities, voices=voices)
        return cls.capabilities

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        client = await self._client()
        with mapped(self._key, self._address, self.timeouts):
            async with client.audio.speech.with_streaming_response.create(
                input=text, timeout=self._limits(), **self._fields
            ) as response:
                usage = TTSUsage(characters=len(text))
                yield Report(usage=usage, request_id=response.request_id or "")
                media_type = response.headers.get("content-type", "").lower()
                if media_type.startswith(("application/json", "text/html", "text/plain")):
                    raise not_audio(media_type, await response.read(), self._key)
                # By what the answer says that it is, whatever was asked for.
                body: _Events | _Bytes
                if media_type.startswith("text/event-stream"):
                    body = _Events(response, self._sample_rate, usage, self._key)
                else:
                    body = _Bytes(response, media_type, self._sample_rate)
                async for item in body.items:
                    if part := body.feed(item):
                        yield part
                if part := body.finish():
                    yield part

    async def list_voices(self) -> list[str]:
        """List the voices of ``GET /audio/voices``; the known ones where a server lacks it."""
        if not self._base_url:
            return await super().list_voices()
        answer = await self._listed("/audio/voices")
        if answer is None:
            return await super().list_voices()
        voices = answer.get("voices", []) if isinstance(answer, dict) else answer
        return sorted(_names(voices))

    async def list_models(self) -> list[str]:
        """Return the models of ``GET /models``."""
        answer = await self._listed("/models")
        models = answer.get("data", []) if isinstance(answer, dict) else []
        return sorted(_names(models))

    async def _listed(self, path: str) -> Any:
        """Return the JSON at a path of the server; None where the server has no such path."""
        from openai import NotFoundError

        client = await self._client()
        with mapped(self._key, self._address, self.timeouts):
            try:
                return await client.get(path, cast_to=object, options={"timeout": self._limits()})
            except NotFoundError:
                return None

    def _fields_of(self, options: OpenAIOptions) -> dict[str, Any]:
        """Collect the fields that were set: compatible servers refuse unknown ones."""
        custom = self.voice.startswith(self.capabilities.voice_prefixes)
        fields = {"model": self.model_name, "voice": {"id": self.voice} if custom else self.voice}
        return fields | options.model_dump(exclude_none=True, exclude={"sample_rate"})

    def _limits(self) -> Any:
        from httpx2 import Timeout

        # Silence is watched over in one place, for all providers: `base.timed`.
        return Timeout(None, connect=self.timeouts.connect)

    async def _client(self) -> AsyncOpenAI:
        if not self._key:
            raise AuthenticationFailed("no key: set OPENAI_API_KEY, or pass api_key")
        return await self._clients.get(self._account, self._make_client)

    def _make_client(self) -> AsyncOpenAI:
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ModuleNotFoundError:
            raise MissingExtra("OpenAITTSModel", "openai") from None
        # A server that redirects could have a worker ask anything that it reaches.
        http_client = DefaultAsyncHttpxClient(follow_redirects=False)
        return AsyncOpenAI(**{"http_client": http_client, **self._client_arguments})


def _names(items: Any) -> Iterator[str]:
    """Yield the names in a list of strings or of objects with an ``id`` or ``name``."""
    for item in items[:MOST_NAMES] if isinstance(items, list) else ():
        if name := (item.get("id") or item.get("name")) if isinstance(item, dict) else item:
            yield printable(name, NAME_CHARACTERS)


class _Bytes:
    """A body of raw PCM, or of a WAV."""

    def __init__(
        self, response: AsyncAPIResponse[bytes], media_type: str, sample_rate: int
    ) -> None:
        # Without a size: asking for one holds the first audio back until it is reached.
        self.items: AsyncIterator[Any] = response.iter_bytes()
        reader = PcmReader(media_type, sample_rate)
        self.feed, self.finish = reader.feed, reader.finish


class _Events:
    """A body of server-sent events, which has to say that it is done."""

    def __init__(
        self,
        response: AsyncAPIResponse[bytes],
        sample_rate: int,
        usage: TTSUsage,
        key: str,
    ) -> None:
        self.items: AsyncIterator[Any] = response.iter_lines()
        self._sample_rate = sample_rate
        self._reader = PcmReader("", sample_rate)
        self._usage = usage
        self._key = key
        self._done = False

    def feed(self, line: str) -> Audio | Report | None:
        event = event_in(line)
        match event.get("type"):
            case "speech.audio.delta":
                data = decoded(event.get("audio"))
                if data.startswith(b"RIFF"):  # some servers wrap each delta in a WAV
                    self._reader = PcmReader("", self._sample_rate)
                return self._reader.feed(data)
            case "speech.audio.done":
                self._done = True
                tokens = event.get("usage") or {}
                self._usage.input_tokens = bounded_count(tokens.get("input_tokens"))
                self._usage.output_tokens = bounded_count(tokens.get("output_tokens"))
                return Report(usage=self._usage)
            case _ if "error" in event:
                raise said(event, self._key)
        return None

    def finish(self) -> Audio | None:
        if not self._done:
            raise IncompleteAudio('the events ended without "speech.audio.done"')
        return self._reader.finish()
