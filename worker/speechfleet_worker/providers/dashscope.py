"""Alibaba DashScope (Qwen-TTS) over HTTP: server-sent events, or one URL to be fetched."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from fnmatch import fnmatch
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast
from urllib.parse import urljoin, urlsplit

from speechfleet.errors import (
    IncompleteAudio,
    ProviderError,
    ProviderUnavailable,
    RequestRejected,
)
from speechfleet.settings import Settings, Timeouts, settings
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
)
from speechfleet_worker.providers.dashscope_transport import (
    BASE_URL,
    Exchange,
    decoded,
    provider_error,
    proxy_for,
    required_key,
    sdk,
    transport_errors,
    unreachable,
    usage_of,
)
from speechfleet_worker.providers.pcm import PcmReader

if TYPE_CHECKING:
    import aiohttp

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

_HAN = re.compile(
    r"[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Radicals, the marks 々〆〇, the ideographs and their extensions."""
_REDIRECTS = 3
_REDIRECTED = (301, 302, 303, 307, 308)


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
    ``result_bytes`` of it. ``generate_kwargs`` go into the SDK's call as they are, before
    ``options``, which in turn decide over ``language_type``. Key and
    base URL belong to the object: accounts do not mix within a process.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        input_limit=600,
        unit="characters",
        count=billed_characters,
        sample_rate=SAMPLE_RATE,
        default_voice="Cherry",
        voices=VOICES,
        voice_prefixes=("qwen-tts-", "qwen3-tts-"),
        languages=("zh", "en", "de", "it", "pt", "es", "ja", "ko", "fr", "ru"),
        metered=True,
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

    @classmethod
    def from_settings(cls, settings: Settings) -> Mapping[str, Any]:
        return {"result_hosts": settings.result_hosts, "result_bytes": settings.result_bytes}

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        async with await Exchange.open(self._base_url, self.timeouts) as exchange:
            spoken, url, stopped, request_id = False, "", False, ""
            async with aclosing(self._answers(text, exchange)) as answers:
                async for answer in answers:
                    if answer["request_id"] != request_id:
                        request_id = answer["request_id"]
                        yield Report(request_id=request_id)
                    output = answer["output"]
                    audio = output.get("audio") or {}
                    if data := audio.get("data"):
                        spoken = True
                        yield Audio(decoded(data), SAMPLE_RATE)
                    url = audio.get("url") or url
                    if output.get("finish_reason") == "stop":
                        stopped = True
                        yield Report(usage=usage_of(answer["usage"]))
            if not stopped:
                raise IncompleteAudio(
                    "DashScope ended the stream before it was done", request_id=request_id
                )
            if not spoken and url:
                async with aclosing(self._fetch(url, exchange)) as parts:
                    async for part in parts:
                        yield part

    async def _answers(self, text: str, exchange: Exchange) -> AsyncGenerator[Any, None]:
        """The SDK's responses. It raises for none of DashScope's errors: that is done here."""
        try:
            answer = await self._sdk.AioMultiModalConversation.call(
                model=self.model_name,
                api_key=self._api_key,
                text=text,
                voice=self.voice,
                stream=self.stream,
                base_address=self._base_url,
                session=exchange.session,
                request_timeout=self.timeouts.call,
                **{**self.options.model_dump(exclude_none=True), **self._generate_kwargs},
            )
            if not self.stream:
                yield self._checked(answer, exchange)
                return
            async with aclosing(answer):
                async for each in answer:
                    yield self._checked(each, exchange)
        except ProviderError:
            raise
        except transport_errors() as error:
            raise unreachable(error) from None
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            # The SDK stumbles over answers that are not as it expects them.
            raise self._not_speech(await exchange.body()) from error

    def _checked(self, answer: Any, exchange: Exchange) -> Any:
        # By item: the SDK's attributes are ten times as slow.
        if answer["status_code"] == HTTPStatus.OK:
            return answer
        in_stream = exchange.status == HTTPStatus.OK
        raise provider_error(
            str(answer.message),
            code=str(answer.code),
            status=0 if in_stream else int(answer.status_code),
            request_id=str(answer.request_id or ""),
            headers=answer.headers,
            secret=self._api_key,
        ) from None

    def _not_speech(self, body: Mapping[str, Any]) -> ProviderError:
        if not body.get("code"):
            return IncompleteAudio("DashScope's answer holds no speech")
        return provider_error(
            str(body.get("message", "")),
            code=str(body["code"]),
            request_id=str(body.get("request_id", "")),
            secret=self._api_key,
        )

    async def _fetch(self, url: str, exchange: Exchange) -> AsyncGenerator[Audio, None]:
        """The audio behind a result URL, wherever the provider's own hosts redirect to."""
        for _ in range(_REDIRECTS + 1):
            self._check_host(url)
            try:
                async with exchange.session.get(
                    url, allow_redirects=False, proxy=proxy_for(url)
                ) as response:
                    if response.status in _REDIRECTED:
                        url = urljoin(url, response.headers.get("Location", ""))
                        continue
                    if response.status != HTTPStatus.OK:
                        # 403 and 404 are what an expired URL gives: it has to be spoken again.
                        raise ProviderUnavailable(
                            f"the result could not be fetched: status {response.status}",
                            provider_code="ResultExpired",
                            status=response.status,
                        )
                    async with aclosing(self._read(response)) as parts:
                        async for part in parts:
                            yield part
                    return
            except transport_errors() as error:
                raise unreachable(error) from None
        raise ProviderUnavailable("the result URL redirects in circles")

    async def _read(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Audio, None]:
        reader, left = PcmReader("audio/wav", SAMPLE_RATE), self._result_bytes
        async for data in response.content.iter_any():
            left -= len(data)
            if left < 0:
                raise RequestRejected(f"the result is larger than {self._result_bytes} bytes")
            if audio := reader.feed(data):
                yield audio
        if audio := reader.finish():
            yield audio

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


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(cast("str", host)).is_loopback
    except ValueError:
        return False
