"""Alibaba DashScope (Qwen-TTS) over HTTP: server-sent events, or one URL to be fetched."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from fnmatch import fnmatch
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from speechfleet.errors import (
    IncompleteAudio,
    ProviderError,
    ProviderUnavailable,
    RequestRejected,
)
from speechfleet.provider_billing import han_twice
from speechfleet.provider_values import printable
from speechfleet.settings import Settings, Timeouts
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
)
from speechfleet_worker.providers.dashscope.transport import (
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
from speechfleet_worker.providers.failures import shown_address
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

RESULT_HOSTS: tuple[str, ...] = Settings.model_fields["result_hosts"].default
RESULT_BYTES: int = Settings.model_fields["result_bytes"].default
_REDIRECTS = 3
_REDIRECTED = (301, 302, 303, 307, 308)


class DashScopeOptions(ProviderOptions):
    """Options of the SDK's call besides text and voice; those that are None are not sent."""

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
        count=han_twice,
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
        self._result_hosts = RESULT_HOSTS if result_hosts is None else result_hosts
        self._result_bytes = RESULT_BYTES if result_bytes is None else result_bytes
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
        """Yield the SDK's responses, and raise DashScope's errors, which the SDK does not."""
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
        """Fetch the audio behind a result URL, through redirects among the provider's hosts."""
        for _ in range(_REDIRECTS + 1):
            url = self._checked_url(url)
            try:
                exchange.hands_out_redirects = True  # each is checked here
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

    def _checked_url(self, url: str) -> str:
        """Return the address to fetch a result from. Raises RequestRejected.

        Plain http becomes https; a server on this machine may only name this machine.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise RequestRejected("DashScope's result lies at no valid address") from None
        if parts.scheme not in ("http", "https"):
            raise RequestRejected(f"DashScope's result lies at {shown_address(url)}: no http")
        if _is_loopback(host) and _is_loopback(urlsplit(self._base_url).hostname):
            return url
        is_literal = ":" in host or "%" in host or _is_address(host)
        is_known = any(fnmatch(host, pattern) for pattern in self._result_hosts)
        if is_literal or not is_known or port not in (None, 80, 443):
            raise RequestRejected(
                f"DashScope's result lies on {printable(parts.netloc)!r}, which is not one of "
                "the hosts that results are fetched from (SPEECHFLEET_RESULT_HOSTS)"
            )
        return urlunsplit(("https", host, parts.path, parts.query, ""))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
