"""OpenAI's speech endpoint, and every server that imitates it.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    MissingExtra,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
)
from speechfleet.settings import Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
)
from speechfleet_worker.providers.clients import LoopClients, account
from speechfleet_worker.providers.failures import failure, kind_of, readable, retry_after
from speechfleet_worker.providers.pcm import PcmReader
from speechfleet_worker.providers.sse import decoded, event_in

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncAPIResponse, AsyncOpenAI

OLD_VOICES = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
VOICES = tuple(sorted((*OLD_VOICES, "ballad", "cedar", "marin", "verse")))
MODEL_VOICES: Mapping[str, tuple[str, ...]] = {"gpt-4o-mini-tts": VOICES, "tts-1": OLD_VOICES}
"""By the beginning of the model's name. Other models are other servers', voices unknown."""

QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


def _count(text: str) -> int:
    """Characters; 2000 tokens, guessed at three bytes each, weigh as much as 4096 of them."""
    return max(len(text), len(text.encode("utf-8", "replace")) * 4096 // 6000)


class OpenAIOptions(ProviderOptions):
    """What `OpenAITTSModel` can be told beside text and voice."""

    speed: float | None = Field(None, ge=0.25, le=4.0)
    instructions: str | None = Field(None, description="how to speak; not for tts-1*")
    response_format: Literal["pcm", "wav"] = Field(
        "pcm", description="wav where a server does not tell the rate of its PCM"
    )
    stream_format: Literal["sse"] | None = None
    sample_rate: int | None = Field(None, gt=0, description="of the server's raw PCM, in Hz")
    extra_body: dict[str, Any] | None = Field(None, description="a server's own fields")


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
        count=_count,
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
        options: OpenAIOptions | None = None,
    ) -> None:
        options = options or OpenAIOptions()
        super().__init__(model_name, stream, voice, timeouts, options)
        self._key = api_key or os.environ.get("OPENAI_API_KEY", "")
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._client_arguments = {
            "api_key": self._key,
            "base_url": self._base_url,
            **(client_kwargs or {}),
            "max_retries": 0,  # retries have one owner, and that is the queue
        }
        self._account = account(self._client_arguments)
        self._fields = self._fields_of(options) | dict(generate_kwargs or {})
        self._sample_rate = options.sample_rate or sample_rate or self.capabilities.sample_rate

    @classmethod
    def describe(cls, model_name: str) -> Capabilities:
        for beginning, voices in MODEL_VOICES.items():
            if model_name.startswith(beginning):
                return replace(cls.capabilities, voices=voices)
        return cls.capabilities

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        client = await self._client()
        with _mapped(self._key, self.timeouts):
            async with client.audio.speech.with_streaming_response.create(
                input=text, timeout=self._limits(), **self._fields
            ) as response:
                usage = TTSUsage(characters=len(text))
                yield Report(usage=usage, request_id=response.request_id or "")
                media_type = response.headers.get("content-type", "").lower()
                if media_type.startswith(("application/json", "text/html", "text/plain")):
                    raise _not_audio(media_type, await response.read(), self._key)
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
        """Those of ``GET /audio/voices``, which compatible servers have; else the known ones."""
        from openai import NotFoundError

        if not self._base_url:
            return await super().list_voices()
        client = await self._client()
        with _mapped(self._key, self.timeouts):
            try:
                answer: Any = await client.get(
                    "/audio/voices", cast_to=object, options={"timeout": self._limits()}
                )
            except NotFoundError:
                return await super().list_voices()
        voices = answer.get("voices", []) if isinstance(answer, dict) else answer
        names = (v.get("id") or v.get("name") if isinstance(v, dict) else v for v in voices)
        return sorted(str(name) for name in names if name)

    def _fields_of(self, options: OpenAIOptions) -> dict[str, Any]:
        """Only what was set: compatible servers refuse fields that they do not know."""
        custom = self.voice.startswith(self.capabilities.voice_prefixes)
        fields = {"model": self.model_name, "voice": {"id": self.voice} if custom else self.voice}
        return fields | options.model_dump(exclude_none=True, exclude={"sample_rate"})

    def _limits(self) -> Any:
        from httpx2 import Timeout

        # Silence is watched over in one place, for all providers: `base.timed`.
        return Timeout(None, connect=self.timeouts.connect)

    async def _client(self) -> AsyncOpenAI:
        try:
            from openai import AsyncOpenAI
        except ModuleNotFoundError:
            raise MissingExtra("OpenAITTSModel", "openai") from None
        if not self._key:
            raise AuthenticationFailed("no key: set OPENAI_API_KEY, or pass api_key")
        return await self._clients.get(
            self._account, lambda: AsyncOpenAI(**self._client_arguments)
        )


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
                self._usage.input_tokens = int(tokens.get("input_tokens") or 0)
                self._usage.output_tokens = int(tokens.get("output_tokens") or 0)
                return Report(usage=self._usage)
            case _ if "error" in event:
                raise _said(event, self._key)
        return None

    def finish(self) -> Audio | None:
        if not self._done:
            raise IncompleteAudio('the events ended without "speech.audio.done"')
        return self._reader.finish()


# --- errors ---------------------------------------------------------------------------------


@contextmanager
def _mapped(key: str, timeouts: Timeouts) -> Iterator[None]:
    """The one place where the SDK's errors, and its transport's, become ours."""
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise _refused(error, key) from None
    except (openai.APITimeoutError, httpx2.TimeoutException):
        message = f"connect: no connection within {timeouts.connect:g} s"
        raise ProviderTimeout(message) from None
    except openai.APIConnectionError as error:
        cause = type(error.__cause__ or error).__name__
        raise ProviderUnavailable(f"the server cannot be reached ({cause})") from None
    except httpx2.HTTPError as error:
        raise ProviderUnavailable(f"the connection broke: {error}") from None
    except openai.OpenAIError as error:
        raise ProviderError(readable(str(error), (key,))) from None


def _refused(error: APIStatusError, key: str) -> ProviderError:
    code, message = _code_and_message(error.body)
    return failure(
        error.status_code,
        message,
        kind=QuotaExceeded if code in QUOTA_CODES else None,
        provider_code=code,
        request_id=error.request_id or "",
        retry_after=retry_after(error.response.headers),
        secrets=(key,),
    )


def _not_audio(media_type: str, body: bytes, key: str) -> ProviderError:
    """200, and no audio: some servers say in the body what their status should have said."""
    try:
        return _said(json.loads(body), key)
    except ValueError:
        return IncompleteAudio(f"the server answered with {media_type.partition(';')[0]}")


def _said(body: object, key: str) -> ProviderError:
    """An error that came without a status of its own."""
    code, message = _code_and_message(body)
    status = int(code) if code.isdecimal() and 400 <= int(code) < 600 else 0
    kind = QuotaExceeded if code in QUOTA_CODES else kind_of(status) if status else None
    return failure(
        status or 200,
        message or "the server answered without audio",
        kind=kind or IncompleteAudio,
        provider_code=code,
        secrets=(key,),
    )


def _code_and_message(body: object) -> tuple[str, str]:
    """Out of OpenAI's ``error`` object, and the ``detail`` of those who imitate it."""
    inner = body
    if isinstance(body, dict):
        inner = body.get("error") or body.get("detail") or body
    if isinstance(inner, dict):
        code = inner.get("code") or inner.get("error") or inner.get("type") or ""
        return str(code), str(inner.get("message") or inner.get("detail") or "")
    return "", inner if isinstance(inner, str) else json.dumps(inner)
