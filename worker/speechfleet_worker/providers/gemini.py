"""Gemini's speech models.

https://ai.google.dev/gemini-api/docs/speech-generation
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field, ValidationError, field_validator

from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    MissingExtra,
    ProviderError,
    ProviderUnavailable,
    RequestRejected,
    UnknownModel,
    UnknownVoice,
)
from speechfleet.provider_billing import tokens
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
    failure,
    retry_after,
    seconds_in,
    shown_address,
    unreachable,
)
from speechfleet_worker.providers.pcm import PcmReader
from speechfleet_worker.providers.timeouts import connect_timeout

if TYPE_CHECKING:
    import httpx2
    from google.genai import Client
    from google.genai.errors import APIError
    from google.genai.types import GenerateContentConfig, GenerateContentResponse

VOICES = tuple(
    "Achernar Achird Algenib Algieba Alnilam Aoede Autonoe Callirrhoe Charon Despina Enceladus "
    "Erinome Fenrir Gacrux Iapetus Kore Laomedeia Leda Orus Puck Pulcherrima Rasalgethi "
    "Sadachbia Sadaltager Schedar Sulafat Umbriel Vindemiatrix Zephyr Zubenelgenubi".split()
)
_MODEL_NAME = re.compile(r"[A-Za-z0-9._-]+")
"""A name becomes part of the URL: nothing in it may lead to another address."""
REFUSALS = frozenset({"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"})
"""Ends that the same text will meet again. Any other but STOP may succeed later."""


class GeminiOptions(ProviderOptions):
    """Options of `GeminiTTSModel` beside text and voice."""

    instructions: str | None = Field(None, description="how to speak; put before the text")
    language_code: str | None = Field(None, description="e.g. en-US; else found in the text")
    speakers: dict[str, str] | None = Field(
        None, description="a dialogue: the speakers' names in the text -> their voices"
    )
    temperature: float | None = Field(None, ge=0.0, le=2.0)
    seed: int | None = None

    @field_validator("speakers")
    @classmethod
    def _known_voices(cls, speakers: dict[str, str] | None) -> dict[str, str] | None:
        for voice in (speakers or {}).values():
            if voice not in VOICES:
                raise ValueError(str(UnknownVoice(voice, VOICES)))
        return speakers


_opened: ContextVar[list[httpx2.Response]] = ContextVar("opened")


async def _remember(response: httpx2.Response) -> None:
    opened = _opened.get(None)
    if opened is not None:
        opened.append(response)


@dataclass
class _SdkClient:
    """The SDK's client and the connections under it, which it leaves to whoever gave them."""

    sdk: Client
    connections: httpx2.AsyncClient

    async def answers(
        self, request: Mapping[str, Any]
    ) -> AsyncGenerator[GenerateContentResponse, None]:
        """Yield the answers of one streamed call; closing this closes its connection.

        Closing the SDK's iterator would not: what it is made of refers to itself, and so
        waits for the garbage collector.
        """
        opened: list[httpx2.Response] = []
        try:
            token = _opened.set(opened)
            try:
                answers = await self.sdk.aio.models.generate_content_stream(**request)
                first = await anext(answers, None)  # nothing is sent before
            finally:
                _opened.reset(token)
            if first is not None:
                yield first
            async for answer in answers:
                yield answer
        finally:
            for response in opened:
                await response.aclose()

    async def close(self) -> None:
        await self.connections.aclose()
        self.sdk.close()


class GeminiTTSModel(ProviderModel):
    """``generateContent`` with audio. Any number of calls at once, on one client.

    Streamed with ``stream=True``, else in one answer, which the newer models give as a WAV.
    An answer is complete only if it ends with STOP: streams were seen to be cut off with
    status 200, so a call is kept to a few minutes of speech at most.

    Without ``api_key`` and ``base_url``: GOOGLE_API_KEY or GEMINI_API_KEY, and
    GOOGLE_GEMINI_BASE_URL.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        # The model takes 8192, but no more than 16384 tokens of audio come out: 25 a second.
        input_limit=1024,
        unit="tokens",
        count=tokens,
        sample_rate=24_000,
        default_voice="Kore",
        voices=VOICES,
        metered=True,
    )
    Options: ClassVar[type[ProviderOptions]] = GeminiOptions
    _clients: ClassVar[LoopClients[_SdkClient]] = LoopClients(lambda client: client.close())

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "gemini-3.8-flash-tts",
        voice: str = "",
        stream: bool = True,
        client_kwargs: Mapping[str, Any] | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        *,
        base_url: str | None = None,
        sample_rate: int | None = None,
        timeouts: Timeouts | None = None,
        options: GeminiOptions | None = None,
    ) -> None:
        if not _MODEL_NAME.fullmatch(model_name):
            raise UnknownModel(
                f"gemini/{model_name}", note="(letters, digits, '.', '_' and '-' are taken)"
            )
        super().__init__(model_name, stream, voice, timeouts, options or GeminiOptions())
        environ = os.environ
        self._key = api_key or environ.get("GOOGLE_API_KEY") or environ.get("GEMINI_API_KEY", "")
        self._base_url = base_url or environ.get("GOOGLE_GEMINI_BASE_URL") or None
        self._address = shown_address(
            self._base_url or "https://generativelanguage.googleapis.com"
        )
        self._client_kwargs = dict(client_kwargs or {})
        self._account = account(
            {
                "api_key": self._key,
                "base_url": self._base_url,
                **self._client_kwargs,
                "connect": self.timeouts.connect,
            }
        )
        self._generate_kwargs = dict(generate_kwargs or {})
        self._sample_rate = sample_rate or self.capabilities.sample_rate

    @property
    def _options(self) -> GeminiOptions:
        return cast("GeminiOptions", self.options)

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        client = await self._client()
        answer = _Answer(text, self._sample_rate)
        how = self._options.instructions
        request: dict[str, Any] = {
            "model": self.model_name,
            "contents": f"{how}\n\n{text}" if how else text,
            "config": self._config(),
        }
        with _mapped(self._key, self._address, self.timeouts):
            if self.stream:
                async with aclosing(client.answers(request)) as responses:
                    async for response in responses:
                        for part in answer.parts(response):
                            yield part
            else:
                response = await client.sdk.aio.models.generate_content(**request)
                for part in answer.parts(response):
                    yield part
            if audio := answer.finish():
                yield audio

    def _config(self) -> GenerateContentConfig:
        from google.genai import types

        def voice(name: str) -> types.VoiceConfig:
            prebuilt = types.PrebuiltVoiceConfig(voice_name=name)
            return types.VoiceConfig(prebuilt_voice_config=prebuilt)

        options = self._options
        speech = types.SpeechConfig(language_code=options.language_code)
        if options.speakers:
            voices = [
                types.SpeakerVoiceConfig(speaker=speaker, voice_config=voice(name))
                for speaker, name in options.speakers.items()
            ]
            several = types.MultiSpeakerVoiceConfig(speaker_voice_configs=voices)
            speech.multi_speaker_voice_config = several
        else:
            speech.voice_config = voice(self.voice)
        fields: dict[str, Any] = {
            "response_modalities": ["AUDIO"],
            "speech_config": speech,
            "temperature": options.temperature,
            "seed": options.seed,
            # Hidden further requests would be billed and retried by nobody's decision.
            "automatic_continuation": False,
        }
        return types.GenerateContentConfig(**fields | self._generate_kwargs)

    async def _client(self) -> _SdkClient:
        if not self._key:
            raise AuthenticationFailed("no key: set GOOGLE_API_KEY or GEMINI_API_KEY")
        return await self._clients.get(self._account, self._make_client)

    def _make_client(self) -> _SdkClient:
        try:
            import httpx2
            from google import genai
            from google.genai import types
        except ModuleNotFoundError:
            raise MissingExtra("GeminiTTSModel", "gemini") from None

        async def limit(request: httpx2.Request) -> None:
            # The SDK overrides the client's time-outs with its own, which is none.
            request.extensions["timeout"] = {"connect": self.timeouts.connect}

        # Its own choice, aiohttp where that is installed, sends a failed request again.
        connections = httpx2.AsyncClient(
            limits=httpx2.Limits(max_connections=None),
            event_hooks={"request": [limit], "response": [_remember]},
        )
        given = types.HttpOptions.model_validate(self._client_kwargs.get("http_options") or {})
        options = given.model_copy(
            update={
                "base_url": given.base_url or self._base_url,
                "httpx_async_client": connections,
                "retry_options": types.HttpRetryOptions(attempts=1),
            }
        )
        arguments = {"api_key": self._key, **self._client_kwargs, "http_options": options}
        return _SdkClient(genai.Client(**arguments), connections)


class _Answer:
    """The answer of one call, in one piece or in many."""

    def __init__(self, text: str, sample_rate: int) -> None:
        self._characters = len(text)
        self._sample_rate = sample_rate
        self._reader: PcmReader | None = None
        self._end = ""

    def parts(self, response: GenerateContentResponse) -> Iterator[Audio | Report]:
        """Yield the parts of an answer. Raises RequestRejected and IncompleteAudio."""
        blocked = response.prompt_feedback and response.prompt_feedback.block_reason
        if blocked:
            raise RequestRejected(f"the text was blocked: {blocked}", provider_code=str(blocked))
        for candidate in (response.candidates or [])[:1]:
            for part in (candidate.content and candidate.content.parts) or []:
                if part.inline_data and part.inline_data.data:
                    media_type = part.inline_data.mime_type or ""
                    if audio := self._read(media_type, part.inline_data.data):
                        yield audio
            if candidate.finish_reason:
                self._end = str(candidate.finish_reason.value)
        usage = response.usage_metadata
        yield Report(
            request_id=response.response_id or "",
            usage=TTSUsage(
                input_tokens=bounded_count(usage and usage.prompt_token_count),
                output_tokens=bounded_count(usage and usage.candidates_token_count),
                characters=self._characters,
            ),
        )

    def finish(self) -> Audio | None:
        """Return the last bytes, if the answer ended as it should."""
        if self._end in REFUSALS:
            raise RequestRejected(f"refused to speak: {self._end}", provider_code=self._end)
        if self._end != "STOP":
            how = self._end or "without a reason"
            raise IncompleteAudio(f"the answer ended early: {how}", provider_code=self._end)
        return self._reader.finish() if self._reader else None

    def _read(self, media_type: str, data: bytes) -> Audio | None:
        if self._reader is None or data.startswith(b"RIFF"):
            self._reader = PcmReader(media_type, self._sample_rate)
        return self._reader.feed(data)


# --- errors ---------------------------------------------------------------------------------


@contextmanager
def _mapped(key: str, address: str, timeouts: Timeouts) -> Iterator[None]:
    """Turn the SDK's errors, and its transport's, into ours; nothing else does."""
    import httpx2
    from google.genai import errors

    try:
        yield
    except errors.APIError as error:
        raise _refused(error, key) from None
    except httpx2.TimeoutException:
        raise connect_timeout(timeouts.connect, address) from None
    except httpx2.ConnectError as error:
        raise unreachable(address, error) from None
    except httpx2.HTTPError as error:
        raise ProviderUnavailable(f"the connection to {address} broke: {error}") from None
    except (errors.UnknownApiResponseError, ValidationError):
        raise IncompleteAudio("an answer that does not parse") from None


def _refused(error: APIError, key: str) -> ProviderError:
    body = error.details.get("error") if isinstance(error.details, dict) else None
    details = body.get("details") if isinstance(body, dict) else None
    details = [detail for detail in details or [] if isinstance(detail, dict)]
    # A wrong key comes as a 400 among all the others.
    bad_key = any(d.get("reason") == "API_KEY_INVALID" for d in details)
    bad_key = bad_key or "API key not valid" in (error.message or "")
    return failure(
        error.code if isinstance(error.code, int) else 500,  # an event may lack it
        error.message or "",
        kind=AuthenticationFailed if bad_key else None,
        provider_code=error.status or "",
        retry_after=_retry_delay(details, getattr(error.response, "headers", {})),
        secrets=(key,),
    )


def _retry_delay(details: list[dict[str, Any]], headers: Mapping[str, str]) -> float | None:
    """``google.rpc.RetryInfo`` says ``"2.5s"``; else the header."""
    for detail in details:
        delay = str(detail.get("retryDelay", ""))
        if delay.endswith("s"):
            return seconds_in(delay[:-1])
    return retry_after(headers)
