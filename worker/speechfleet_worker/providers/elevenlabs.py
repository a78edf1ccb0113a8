"""ElevenLabs over HTTP, with the time of every word.

https://elevenlabs.io/docs/api-reference/text-to-speech/stream-with-timestamps
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast
from urllib.parse import quote

from pydantic import Field

from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    ProviderError,
    QuotaExceeded,
    RateLimited,
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
    SpokenWord,
    bounded_count,
)
from speechfleet_worker.providers.failures import failure, retry_after
from speechfleet_worker.providers.http_calls import HttpRequest, answer
from speechfleet_worker.providers.sse import decoded
from speechfleet_worker.providers.word_places import WordPlaces

BASE_URL = "https://api.elevenlabs.io"
SAMPLE_RATE = 24_000
INPUT_LIMITS = {"eleven_flash": 40_000, "eleven_multilingual": 10_000, "eleven_v3": 5_000}
"""Characters of a request, by the beginning of the model's name."""
REMEMBERED_REQUESTS = 3
"""Requests before this one that the server takes for its prosody."""
KINDS: Mapping[str, type[ProviderError]] = {
    "quota_exceeded": QuotaExceeded,  # comes with the status 401
    "too_many_concurrent_requests": RateLimited,
    "system_busy": RateLimited,
    "invalid_api_key": AuthenticationFailed,
}
"""By the word for the error, where it says more than the HTTP status."""


class ElevenLabsOptions(ProviderOptions):
    """Options of a request beside text, model and voice; what is None is not sent."""

    stability: float | None = Field(None, ge=0, le=1)
    similarity_boost: float | None = Field(None, ge=0, le=1)
    style: float | None = Field(None, ge=0, le=1)
    use_speaker_boost: bool | None = None
    speed: float | None = Field(None, ge=0.7, le=1.2)
    seed: int | None = Field(None, ge=0, le=4_294_967_295)
    language_code: str | None = Field(None, max_length=10)
    apply_text_normalization: Literal["auto", "on", "off"] | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the request's body."""
        given = self.model_dump(exclude_none=True)
        outside = {"seed", "language_code", "apply_text_normalization"}
        voice = {name: value for name, value in given.items() if name not in outside}
        rest = {name: value for name, value in given.items() if name in outside}
        return {**rest, "voice_settings": voice} if voice else rest


class ElevenLabsTTSModel(ProviderModel):
    """``POST /v1/text-to-speech/{voice}/stream/with-timestamps``: audio and words as they come.

    ``voice`` is a voice's id. The texts of a session (`conversation`) name the requests before
    them, so that the prosody goes on. Without ``api_key`` and ``base_url``: ELEVENLABS_API_KEY,
    ELEVENLABS_BASE_URL.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        input_limit=5_000,
        sample_rate=SAMPLE_RATE,
        default_voice="JBFqnCBsd6RMkjVDRZzb",
        metered=True,
    )
    Options: ClassVar[type[ProviderOptions]] = ElevenLabsOptions

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "eleven_flash_v2_5",
        voice: str = "",
        stream: bool = True,
        *,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        options: ElevenLabsOptions | None = None,
    ) -> None:
        super().__init__(model_name, stream, voice, timeouts, options)
        self._key = api_key or os.environ.get("ELEVENLABS_API_KEY", "")
        self._base_url = (base_url or os.environ.get("ELEVENLABS_BASE_URL") or BASE_URL).rstrip(
            "/"
        )

    @classmethod
    def describe(cls, model_name: str) -> Capabilities:
        for beginning, limit in INPUT_LIMITS.items():
            if model_name.startswith(beginning):
                return replace(cls.capabilities, input_limit=limit)
        return cls.capabilities

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        async for part in self.speak_after(text, ()):
            yield part

    async def speak_after(
        self, text: str, requests: tuple[str, ...]
    ) -> AsyncGenerator[Audio | Report, None]:
        """Speak a text that follows those of earlier requests, named by their ids."""
        options = cast("ElevenLabsOptions", self.options)
        body = {"text": text, "model_id": self.model_name, **options.fields()}
        if requests:
            body["previous_request_ids"] = list(requests)
        voice = quote(self.voice, safe="")
        path = f"/v1/text-to-speech/{voice}/stream/with-timestamps?output_format=pcm_{SAMPLE_RATE}"
        words = _Words(text)
        async with self._answer("POST", path, json.dumps(body).encode()) as response:
            cost = bounded_count(response.headers.get("character-cost"))
            yield Report(
                usage=TTSUsage(characters=cost or len(text)),
                request_id=response.headers.get("request-id", ""),
                concurrent_limit=bounded_count(
                    response.headers.get("maximum-concurrent-requests")
                ),
            )
            async for line in response.aiter_lines():
                if not line.strip():
                    continue
                piece = _object(line)
                if "audio_base64" not in piece:
                    raise self._refused(0, line.encode(), response.headers)
                if found := words.of(piece.get("alignment")):
                    yield Report(words=found)
                yield Audio(decoded(piece["audio_base64"]), SAMPLE_RATE)
        if last := words.rest():
            yield Report(words=last)

    async def list_voices(self) -> list[str]:
        """List the ids of the account's voices."""
        async with self._answer("GET", "/v1/voices") as response:
            answered = _object((await response.aread()).decode("utf-8", "replace"))
        voices = answered.get("voices")
        listed = voices if isinstance(voices, list) else []
        return sorted(printable(each["voice_id"]) for each in listed if "voice_id" in each)

    async def list_models(self) -> list[str]:
        """List the models that turn text into speech."""
        async with self._answer("GET", "/v1/models") as response:
            body = json.loads(await response.aread())
        listed = body if isinstance(body, list) else []
        speaking = (each for each in listed if each.get("can_do_text_to_speech", True))
        return sorted(printable(each.get("model_id")) for each in speaking)

    @asynccontextmanager
    async def conversation(self) -> AsyncGenerator[ProviderModel, None]:
        """Texts that belong together: each names the requests of those before it."""
        yield _Conversation(self)

    def _answer(self, method: str, path: str, content: bytes = b"") -> Any:
        if not self._key:
            raise AuthenticationFailed("no key: set ELEVENLABS_API_KEY, or pass api_key")
        headers = {"xi-api-key": self._key, "content-type": "application/json"}
        request = HttpRequest(method, self._base_url + path, headers, content)
        return answer(request, self.timeouts, self._refused, extra="elevenlabs")

    def _refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> ProviderError:
        """Make the error for an answer that is no audio; ``status`` 0: within a stream."""
        try:
            detail = json.loads(body).get("detail")
        except (ValueError, AttributeError):
            detail = None
        answered = detail if isinstance(detail, dict) else {"message": detail}
        code = str(answered.get("status") or "")
        return failure(
            status or 200,
            str(answered.get("message") or ""),
            kind=KINDS.get(code) or (None if status else IncompleteAudio),
            provider_code=code,
            request_id=headers.get("request-id", ""),
            retry_after=retry_after(headers),
            secrets=(self._key,),
        )


class _Conversation(ProviderModel):
    """Speaks texts in the order in which they are given."""

    def __init__(self, model: ElevenLabsTTSModel) -> None:
        super().__init__(model.model_name, True, model.voice, model.timeouts, model.options)
        self._model = model
        self._requests: deque[str] = deque(maxlen=REMEMBERED_REQUESTS)

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        async for part in self._model.speak_after(text, tuple(self._requests)):
            if isinstance(part, Report) and part.request_id:
                self._requests.append(part.request_id)
            yield part


class _Words:
    """Puts characters with times together to words, as they come."""

    def __init__(self, text: str) -> None:
        self._places = WordPlaces(text)
        self._word = ""
        self._start = self._end = 0.0

    def of(self, alignment: object) -> tuple[SpokenWord, ...]:
        """Return the words that these characters complete; ill-formed alignments give none."""
        if not isinstance(alignment, dict):
            return ()
        columns = [alignment.get(name) for name in _COLUMNS]
        if not all(isinstance(column, list) for column in columns):
            return ()
        found: list[SpokenWord] = []
        for character, start, end in zip(*cast("list[list[Any]]", columns), strict=False):
            if str(character).isspace():
                found += self.rest()
            elif isinstance(start, (int, float)) and isinstance(end, (int, float)):
                self._start = self._start if self._word else float(start)
                self._word, self._end = self._word + str(character), float(end)
        return tuple(found)

    def rest(self) -> tuple[SpokenWord, ...]:
        """Return the word under way, if it stands in the text."""
        word, self._word = self._word, ""
        place = self._places.find(word)
        if place is None:
            return ()
        self._places.pass_over(place)
        return (SpokenWord(*place, self._start, self._end),)


_COLUMNS = ("characters", "character_start_times_seconds", "character_end_times_seconds")


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        raise IncompleteAudio("the server sent a line that does not parse") from None
    return value if isinstance(value, dict) else {}
