"""Alibaba DashScope (Qwen-TTS) over HTTP: server-sent events, or one URL to be fetched."""

from __future__ import annotations

import asyncio
import io
import os
import re
import wave
from base64 import b64decode
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from fnmatch import fnmatch
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast
from urllib.parse import urljoin, urlsplit

from speechfleet.errors import (
    IncompleteAudio,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRejected,
)
from speechfleet.settings import Timeouts, settings
from speechfleet.tts import BYTES_PER_SAMPLE
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
)
from speechfleet_worker.providers.dashscope_transport import (
    loop_connector,
    provider_error,
    required_key,
    sdk,
    usage_of,
)

if TYPE_CHECKING:
    import aiohttp

BASE_URL = "https://dashscope.aliyuncs.com/api/v1"
SAMPLE_RATE = 24_000
"""Hz of the streamed PCM, which comes without a header."""

Language = Literal[
    "Auto", "Chinese", "English", "German", "Italian", "Portuguese", "Spanish", "Japanese",
    "Korean", "French", "Russian",
]  # fmt: skip

VOICES = tuple(
    "Cherry,Serena,Ethan,Chelsie,Momo,Vivian,Moon,Maia,Kai,Nofish,Bella,Jennifer,Ryan,Katerina,"
    "Aiden,Eldric Sage,Mia,Mochi,Bellona,Vincent,Bunny,Neil,Elias,Arthur,Nini,Ebona,Seren,Pip,"
    "Stella,Bodega,Sonrisa,Alek,Dolce,Sohee,Ono Anna,Lenn,Emilien,Andre,Radio Gol,Jada,Dylan,Li,"
    "Marcus,Roy,Peter,Sunny,Eric,Rocky,Kiki".split(",")
)

_HAN = re.compile(r"[⺀-⿕々-〇㐀-䶿一-鿿豈-\ufaff\U00020000-\U0003ffff]")
_LINE_LIMIT = 8 << 20
"""Bytes of one event: a call's whole audio may come in one (600 units speak ~5 MB of base64)."""
_REDIRECTS = 3


def billed_characters(text: str) -> int:
    """Characters as DashScope counts and bills them: a Han character is two.

    https://www.alibabacloud.com/help/en/model-studio/qwen-tts
    """
    return len(text) + len(_HAN.findall(text))


class DashScopeOptions(ProviderOptions):
    """What the SDK's call takes besides text and voice; what is None is not sent."""

    language_type: Language = "Auto"
    instructions: str | None = None
    optimize_instructions: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    max_tokens: int | None = None
    workspace: str | None = None


class DashScopeTTSModel(ProviderModel):
    """Qwen-TTS by DashScope's HTTP interface.

    ``stream=True`` is answered with audio as it is made; ``stream=False`` with a URL alone,
    which is fetched at once (it expires), from ``result_hosts`` only and at most
    ``result_bytes`` of it. ``generate_kwargs`` go into the SDK's call as they are. Key and
    base URL belong to the object: accounts do not mix within a process.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        input_limit=600,
        unit="characters, a Han character counts as two",
        count=billed_characters,
        sample_rate=SAMPLE_RATE,
        default_voice="Cherry",
        voices=VOICES,
        languages=("zh", "en", "de", "it", "pt", "es", "ja", "ko", "fr", "ru"),
    )
    Options = DashScopeOptions

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "qwen3-tts-flash",
        voice: str = "Cherry",
        language_type: Language = "Auto",
        stream: bool = True,
        generate_kwargs: Mapping[str, Any] | None = None,
        *,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        options: DashScopeOptions | None = None,
        result_hosts: tuple[str, ...] | None = None,
        result_bytes: int | None = None,
    ) -> None:
        super().__init__(
            model_name,
            stream,
            voice,
            timeouts,
            options or DashScopeOptions(language_type=language_type),
        )
        self._api_key = required_key(api_key)
        self._base_url = base_url or os.environ.get("DASHSCOPE_HTTP_BASE_URL") or BASE_URL
        self._generate_kwargs = dict(generate_kwargs or {})
        self._result_hosts = settings().result_hosts if result_hosts is None else result_hosts
        self._result_bytes = settings().result_bytes if result_bytes is None else result_bytes
        self._sdk = sdk()

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        async with await _Exchange.open(self.timeouts) as exchange:
            spoken, url, stopped, request_id = False, "", False, ""
            async with aclosing(self._answers(text, exchange)) as answers:
                async for answer in answers:
                    if answer.request_id != request_id:
                        request_id = answer.request_id
                        yield Report(request_id=request_id)
                    output = answer.output or {}
                    audio = output.get("audio") or {}
                    if data := audio.get("data"):
                        spoken = True
                        yield Audio(_decoded(data, request_id), SAMPLE_RATE)
                    url = audio.get("url") or url
                    if output.get("finish_reason") == "stop":
                        stopped = True
                        yield Report(usage=usage_of(answer.usage))
            if not stopped:
                raise IncompleteAudio(
                    "DashScope ended the stream before it was done", request_id=request_id
                )
            if not spoken and url:
                yield await self._fetch(url, exchange)

    async def _answers(self, text: str, exchange: _Exchange) -> AsyncGenerator[Any, None]:
        """The SDK's responses, none of them an error: these are raised here, mapped."""
        with self._mapped():
            answer = await self._sdk.AioMultiModalConversation.call(
                model=self.model_name,
                api_key=self._api_key,
                text=text,
                voice=self.voice,
                stream=self.stream,
                base_address=self._base_url,
                session=exchange.session,
                request_timeout=self.timeouts.call,
                **self.options.model_dump(exclude_none=True),
                **self._generate_kwargs,
            )
        if not self.stream:
            yield self._checked(answer, exchange)
            return
        async with aclosing(answer) as answers:
            while True:
                with self._mapped():
                    try:
                        answer = await anext(answers)
                    except StopAsyncIteration:
                        return
                yield self._checked(answer, exchange)

    def _checked(self, answer: Any, exchange: _Exchange) -> Any:
        if answer.status_code == 200:
            return answer
        in_stream = exchange.status == 200
        raise provider_error(
            str(answer.message),
            code=str(answer.code),
            status=0 if in_stream else int(answer.status_code),
            request_id=str(answer.request_id or ""),
            headers=answer.headers,
            secret=self._api_key,
        )

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """What the SDK lets through: aiohttp's errors, and its own stumbling over odd answers."""
        import aiohttp  # noqa: PLC0415 - comes with the SDK

        try:
            yield
        except ProviderError:
            raise
        except TimeoutError as error:
            raise ProviderTimeout("DashScope did not go on with its answer") from error
        except (
            aiohttp.ClientError,
            aiohttp.http_exceptions.HttpProcessingError,
            OSError,
        ) as error:
            kind = type(error).__name__
            raise ProviderUnavailable(f"the connection to DashScope failed: {kind}") from error
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise IncompleteAudio("DashScope's answer holds no speech") from error

    async def _fetch(self, url: str, exchange: _Exchange) -> Audio:
        """The audio behind a result URL, wherever the provider's own hosts redirect to."""
        for _ in range(_REDIRECTS + 1):
            self._check_host(url)
            with self._mapped():
                async with exchange.session.get(url, allow_redirects=False) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        url = urljoin(url, response.headers.get("Location", ""))
                        continue
                    if response.status != 200:
                        # 403 and 404 are what an expired URL gives: speak it again.
                        raise ProviderUnavailable(
                            f"the result could not be fetched: status {response.status}",
                            provider_code="ResultExpired",
                            status=response.status,
                        )
                    return _unwrapped(await self._body(response))
        raise ProviderUnavailable("the result URL redirects in circles")

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._result_bytes:
                raise RequestRejected(f"the result is larger than {self._result_bytes} bytes")
        return bytes(body)

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        allowed = any(fnmatch(host, pattern) for pattern in self._result_hosts)
        both_loopback = _is_loopback(host) and _is_loopback(urlsplit(self._base_url).hostname)
        if parts.scheme not in ("http", "https") or not (allowed or both_loopback):
            raise RequestRejected(
                f"DashScope's result lies on {host!r}, which is not one of the hosts that "
                "results are fetched from (SPEECHFLEET_RESULT_HOSTS)"
            )


class _Exchange:
    """The traffic of one call, between the SDK and the loop's connector.

    The SDK takes a session from its caller. This one reads long lines, does not let the SDK
    send again what failed, limits the time to connect, and closes the connection at once when
    the call is given up: the SDK's nested generators alone would leave it to the collector.
    """

    session: aiohttp.ClientSession

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._responses: list[aiohttp.ClientResponse] = []
        self._connecting: asyncio.Timeout | None = None

    @classmethod
    async def open(cls, timeouts: Timeouts) -> Self:
        import aiohttp  # noqa: PLC0415 - comes with the SDK

        exchange = cls(timeouts)
        sent = aiohttp.TraceConfig()
        sent.on_request_headers_sent.append(exchange._connected)
        exchange.session = aiohttp.ClientSession(
            connector=await loop_connector(),
            connector_owner=False,
            read_bufsize=_LINE_LIMIT,
            trust_env=True,
            middlewares=(exchange._send,),
            trace_configs=[sent],
        )
        return exchange

    @property
    def status(self) -> int:
        """Of the last answer, 0 before the first."""
        return self._responses[-1].status if self._responses else 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for response in self._responses:
            response.close()
        await self.session.close()

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Any failure leaves as ours, which the SDK does not take for a reason to send again."""
        import aiohttp  # noqa: PLC0415 - comes with the SDK

        limit = self._timeouts.connect
        try:
            async with asyncio.timeout(limit) as self._connecting:
                response = await handler(request)
        except TimeoutError:
            raise ProviderTimeout(f"connect: no connection within {limit:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            kind = type(error).__name__
            raise ProviderUnavailable(f"no answer from DashScope: {kind}") from error
        self._responses.append(response)
        return response

    async def _connected(self, *_: object) -> None:
        if self._connecting is not None:
            self._connecting.reschedule(None)


def _decoded(data: str, request_id: str) -> bytes:
    try:
        return b64decode(data, validate=True)
    except ValueError:
        raise ProviderUnavailable(
            "DashScope sent audio that does not decode", request_id=request_id
        ) from None


def _unwrapped(body: bytes) -> Audio:
    """The PCM of a WAV file, which must be whole."""
    try:
        with wave.open(io.BytesIO(body)) as file:
            if file.getsampwidth() != BYTES_PER_SAMPLE:
                raise IncompleteAudio("the result is not 16-bit PCM")
            audio = Audio(
                file.readframes(file.getnframes()), file.getframerate(), file.getnchannels()
            )
            whole = file.getnframes() * file.getnchannels() * BYTES_PER_SAMPLE
    except (wave.Error, EOFError) as error:
        raise IncompleteAudio(f"the result is not a WAV file: {error}") from None
    if len(audio.data) < whole:
        raise IncompleteAudio("the result is cut short")
    return audio


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(cast("str", host)).is_loopback
    except ValueError:
        return False
