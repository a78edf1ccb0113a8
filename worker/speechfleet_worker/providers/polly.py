"""Amazon Polly. AWS' own library finds the credentials and signs; the audio is streamed.

https://docs.aws.amazon.com/polly/latest/dg/API_SynthesizeSpeech.html

boto3's client would cost a thread for each call, and could not be left in the middle of one.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field

from speechfleet.errors import (
    AuthenticationFailed,
    MissingExtra,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
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

if TYPE_CHECKING:
    from botocore.credentials import Credentials

SAMPLE_RATE = 16_000
"""Hz: the highest of Polly's PCM."""
MAX_MARKS = 10_000
ENGINES = ("standard", "neural", "long-form", "generative")
DEFAULT_REGION = "us-east-1"
KINDS: Mapping[str, type[ProviderError]] = {
    "ThrottlingException": RateLimited,
    "TooManyRequestsException": RateLimited,
    "ServiceFailureException": ProviderUnavailable,
    "UnrecognizedClientException": AuthenticationFailed,
    "InvalidSignatureException": AuthenticationFailed,
    "ExpiredTokenException": AuthenticationFailed,
    "AccessDeniedException": AuthenticationFailed,
}
"""By the name of the error, where it says more than the HTTP status."""


class PollyOptions(ProviderOptions):
    """Options of a request beside text, engine and voice; what is None is not sent."""

    language_code: str | None = Field(None, max_length=20)
    lexicons: tuple[str, ...] | None = Field(None, max_length=5)
    sample_rate: Literal[8000, 16000] = 16_000
    word_marks: bool = Field(
        False, description="ask for the times of the words too, which is billed once more"
    )


class PollyTTSModel(ProviderModel):
    """``POST /v1/speech``. The model's name is Polly's engine: ``polly/neural``.

    Credentials and region are found as all of AWS' tools find them. ``base_url``: another
    address, such as AWS_ENDPOINT_URL_POLLY.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        input_limit=3_000,
        sample_rate=SAMPLE_RATE,
        default_voice="Joanna",
        metered=True,
    )
    Options: ClassVar[type[ProviderOptions]] = PollyOptions

    def __init__(
        self,
        model_name: str = "neural",
        voice: str = "",
        stream: bool = True,
        *,
        base_url: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        timeouts: Timeouts | None = None,
        options: PollyOptions | None = None,
    ) -> None:
        """``access_key`` and ``secret_key``: both, or those that AWS' tools would find."""
        super().__init__(model_name, stream, voice, timeouts, options)
        if model_name not in ENGINES:
            raise RequestRejected(f"Polly has no engine {model_name!r}: {', '.join(ENGINES)}")
        self._keys = (access_key, secret_key)
        self._region = region
        self._base_url = base_url or os.environ.get("AWS_ENDPOINT_URL_POLLY")
        self._secrets = (access_key or "", secret_key or "")

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        options = cast("PollyOptions", self.options)
        characters = 0
        if options.word_marks and self.model_name != "generative":
            words, characters = await self._marks(text)
            yield Report(words=words)
        body = self._body(text) | {
            "OutputFormat": "pcm", "SampleRate": str(options.sample_rate),
        }  # fmt: skip
        async with await self._answer("POST", "/v1/speech", body) as response:
            billed = bounded_count(response.headers.get("x-amzn-requestcharacters"))
            yield Report(
                usage=TTSUsage(characters=characters + (billed or len(text))),
                request_id=response.headers.get("x-amzn-requestid", ""),
            )
            media_type = response.headers.get("content-type", "")
            if "json" in media_type:
                raise self._refused(0, await response.aread(), response.headers)
            async for data in response.aiter_bytes():
                yield Audio(data, options.sample_rate)

    async def list_voices(self) -> list[str]:
        """List the voices of the engine."""
        path = f"/v1/voices?Engine={self.model_name}"
        async with await self._answer("GET", path, None) as response:
            body = json.loads(await response.aread())
        return sorted(printable(voice.get("Id")) for voice in body.get("Voices", []))

    async def _marks(self, text: str) -> tuple[tuple[SpokenWord, ...], int]:
        """Ask for the times of the words; return them and what was billed for it."""
        body = self._body(text) | {"OutputFormat": "json", "SpeechMarkTypes": ["word"]}
        async with await self._answer("POST", "/v1/speech", body) as response:
            billed = bounded_count(response.headers.get("x-amzn-requestcharacters"))
            lines = (await response.aread()).splitlines()[:MAX_MARKS]
        return words_of(text, lines), billed or len(text)

    def _body(self, text: str) -> dict[str, Any]:
        options = cast("PollyOptions", self.options)
        body: dict[str, Any] = {
            "Engine": self.model_name, "Text": text, "TextType": "text", "VoiceId": self.voice,
        }  # fmt: skip
        if options.language_code:
            body["LanguageCode"] = options.language_code
        if options.lexicons:
            body["LexiconNames"] = list(options.lexicons)
        return body

    async def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        # Credentials may come from a file or from the machine's own service: off the loop.
        request = await asyncio.to_thread(self._signed, method, path, content)
        return answer(request, self.timeouts, self._refused, extra="polly")

    def _signed(self, method: str, path: str, content: bytes) -> HttpRequest:
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials
        except ModuleNotFoundError:
            raise MissingExtra("PollyTTSModel", "polly") from None
        access, secret = self._keys
        found = Credentials(access, secret) if access and secret else _credentials()
        if found is None:
            raise AuthenticationFailed("no AWS credentials: set AWS_ACCESS_KEY_ID and the secret")
        frozen = found.get_frozen_credentials()
        self._secrets = (frozen.access_key or "", frozen.secret_key or "")
        region = self._region or _region()
        url = (self._base_url or f"https://polly.{region}.amazonaws.com").rstrip("/") + path
        headers = {"content-type": "application/json"}
        signed = AWSRequest(method=method, url=url, data=content, headers=headers)
        SigV4Auth(frozen, "polly", region).add_auth(signed)
        return HttpRequest(method, url, dict(signed.headers.items()), content)

    def _refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> ProviderError:
        try:
            answered = json.loads(body)
            message = str(answered.get("message") or answered.get("Message") or "")
        except (ValueError, AttributeError):
            message = ""
        code = headers.get("x-amzn-errortype", "").partition(":")[0]
        return failure(
            status or 200,
            message,
            kind=KINDS.get(code) or (None if status else ProviderUnavailable),
            provider_code=code,
            request_id=headers.get("x-amzn-requestid", ""),
            retry_after=retry_after(headers),
            secrets=self._secrets[::-1],  # the secret may hold the key's id
        )


def words_of(text: str, lines: list[bytes]) -> tuple[SpokenWord, ...]:
    """Read speech marks: lines of JSON whose places are bytes of the text's UTF-8.

    A mark tells where a word begins; it ends where the next one does, the last after 0.3 s.
    """
    encoded = text.encode()
    marks = []
    for line in lines:
        mark = json.loads(line)
        if mark.get("type") == "word":
            start, end = (
                len(encoded[: bounded_count(mark.get(edge))].decode("utf-8", "ignore"))
                for edge in ("start", "end")
            )
            marks.append((start, end, bounded_count(mark.get("time")) / 1000))
    ends = [at for _, _, at in marks[1:]] + [marks[-1][2] + 0.3] if marks else []
    return tuple(
        SpokenWord(start, end, at, max(at, until))
        for (start, end, at), until in zip(marks, ends, strict=True)
    )


@lru_cache(maxsize=1)
def _session() -> Any:
    import botocore.session

    return botocore.session.Session()


def _credentials() -> Credentials | None:
    """Find the credentials once; they renew themselves where they expire."""
    return cast("Credentials | None", _session().get_credentials())


def _region() -> str:
    return str(_session().get_config_variable("region") or DEFAULT_REGION)
