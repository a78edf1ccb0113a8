"""DashScope over HTTP, on the real SDK: what the conformance suite does not ask of everybody."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any

import dashscope
import pytest
from dashscope.api_entities import aio_session

from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    MissingExtra,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from speechfleet.provider_billing import han_twice
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers.dashscope.http import (
    DashScopeOptions,
    DashScopeTTSModel,
)
from speechfleet_worker.providers.dashscope.transport import loop_connector
from speechfleet_worker.testing.conformance import spoken, started
from speechfleet_worker.testing.dashscope_server import DashScopeServer
from speechfleet_worker.testing.wire import Fault, speech

pytestmark = pytest.mark.usefixtures("rehearsed")

KEY = "sk-dashscope-77"
TEXT = "Hello, world."


def model_of(server: DashScopeServer, **settings: Any) -> DashScopeTTSModel:
    return DashScopeTTSModel(**{"api_key": KEY, "base_url": server.base_url, **settings})


async def audio_of(model: DashScopeTTSModel, text: str = TEXT) -> bytes:
    return bytes((await spoken(model, text))[-1].audio_from(0))


# --- what is sent and counted


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("", 0),
        ("Hello", 5),
        ("你好", 4),
        ("你好, world。", 12),
        ("カタカナと漢字", 9),
        ("𠀀", 2),
        ("한국어", 3),
        ("〇々", 4),
    ],
)
def test_a_han_character_counts_as_two(text: str, characters: int) -> None:
    assert han_twice(text) == characters
    assert DashScopeTTSModel.capabilities.count(text) == characters


async def test_the_request_is_what_dashscope_documents() -> None:
    options = DashScopeOptions(language_type="Chinese", instructions="gently", seed=7)
    async with DashScopeServer() as server:
        model = model_of(server, voice="Ethan", options=options, generate_kwargs={"top_p": 0.5})
        response = (await spoken(model, "你好"))[-1]
        call = server.calls[0]
    assert call.request["model"] == "qwen3-tts-flash"
    assert call.request["input"] == {"text": "你好", "voice": "Ethan", "language_type": "Chinese"}
    assert call.request["parameters"] == {"instructions": "gently", "seed": 7, "top_p": 0.5}
    assert call.key == KEY
    assert server.characters == 4
    assert response.usage is not None
    assert response.usage.characters == 4
    assert response.metadata == {"request_id": "req-1"}


async def test_agentscope_programs_build_it_with_their_own_arguments() -> None:
    async with DashScopeServer() as server:
        model = DashScopeTTSModel(
            KEY, "qwen-tts", "Serena", "English", False, base_url=server.base_url
        )
        response = await model.synthesize(Msg("assistant", TEXT))
        call = server.calls[0]
    assert isinstance(response, TTSResponse)
    assert response.content is not None
    assert response.content["source"]["media_type"] == "audio/pcm;rate=24000"
    assert (call.request["model"], call.request["input"]["voice"]) == ("qwen-tts", "Serena")
    assert call.request["input"]["language_type"] == "English"


async def test_accounts_and_base_urls_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashscope, "api_key", "sk-of-somebody-else")
    async with DashScopeServer(keys=["sk-a"]) as first, DashScopeServer(keys=["sk-b"]) as second:
        models = [
            model_of(server, api_key=key)
            for server, key in [(first, "sk-a"), (second, "sk-b"), (first, "sk-a")]
        ]
        spoken_audio = await asyncio.gather(
            *(audio_of(m, f"text {n}") for n, m in enumerate(models))
        )
        with pytest.raises(AuthenticationFailed):
            await audio_of(model_of(second, api_key="sk-a"))
        assert [call.key for call in first.calls] == ["sk-a", "sk-a"]
        assert [call.key for call in second.calls] == ["sk-b", "sk-a"]
    assert spoken_audio == [speech(f"text {n}") for n in range(3)]
    assert dashscope.api_key == "sk-of-somebody-else"
    assert dashscope.base_http_api_url != first.base_url


async def test_the_environment_serves_key_and_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    async with DashScopeServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        assert await audio_of(DashScopeTTSModel()) == speech(TEXT)
        assert server.calls[0].key == "fake"


def test_without_a_key_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    with pytest.raises(AuthenticationFailed, match="DASHSCOPE_API_KEY"):
        DashScopeTTSModel()


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dashscope", None)
    with pytest.raises(MissingExtra, match=r"speechfleet\[dashscope\]"):
        DashScopeTTSModel(KEY)


async def test_connections_are_kept_and_the_sdks_leaky_pool_is_never_used() -> None:
    async with DashScopeServer() as server:
        for number in range(3):
            assert await audio_of(model_of(server, api_key=f"sk-{number}"))
        assert len(server.connections) == 1
    assert not aio_session._aio_sessions


# --- answers


async def test_one_line_of_several_megabytes_is_read() -> None:
    text = "word " * 120
    async with DashScopeServer(milliseconds=120) as server:
        server.script(Fault("giant_frame"))
        audio = await audio_of(model_of(server), text)
    assert len(audio) > 3 << 20
    assert audio == speech(text, milliseconds=120)


async def test_not_streamed_the_url_is_fetched() -> None:
    async with DashScopeServer(sample_rate=48_000) as server:
        response = await model_of(server, stream=False).synthesize(Msg("assistant", TEXT))
        assert isinstance(response, TTSResponse)
        assert bytes(response.audio_from(0)) == speech(TEXT, 48_000)
        assert response.media_type == "audio/pcm;rate=48000"
        assert response.usage is not None
        assert response.usage.characters == len(TEXT)


async def test_a_stream_without_audio_is_fetched_by_its_url() -> None:
    async with DashScopeServer() as server:
        server.script(Fault("url_only"))
        assert await audio_of(model_of(server)) == speech(TEXT)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_expired_url_is_worth_another_call(stream: bool) -> None:
    async with DashScopeServer() as server:
        server.script(Fault("expired_url"))
        model = model_of(server, stream=stream)
        with pytest.raises(ProviderUnavailable) as raised:
            await audio_of(model)
        assert raised.value.retryable
        assert raised.value.provider_code == "ResultExpired"
        assert await audio_of(model) == speech(TEXT)


@pytest.mark.parametrize("kind", ["foreign_url", "redirected_url"])
async def test_results_are_fetched_from_allowed_hosts_only(kind: str) -> None:
    async with DashScopeServer() as server:
        server.script(Fault(kind))
        with pytest.raises(RequestRejected, match=r"169\.254\.169\.254.*RESULT_HOSTS"):
            await audio_of(model_of(server, stream=False))


@pytest.mark.parametrize(
    ("base_url", "url", "allowed"),
    [
        ("https://dashscope.aliyuncs.com/api/v1", "https://x.oss-cn.aliyuncs.com/a.wav", True),
        ("https://dashscope.aliyuncs.com/api/v1", "http://x.oss-cn.aliyuncs.com/a.wav", True),
        ("https://dashscope.aliyuncs.com/api/v1", "https://aliyuncs.com.evil.org/a.wav", False),
        ("https://dashscope.aliyuncs.com/api/v1", "https://evil.org/.aliyuncs.com", False),
        ("https://dashscope.aliyuncs.com/api/v1", "https://a.aliyuncs.com@evil.org/", False),
        ("https://dashscope.aliyuncs.com/api/v1", "http://127.0.0.1:6379/", False),
        ("https://dashscope.aliyuncs.com/api/v1", "http://localhost/", False),
        ("https://dashscope.aliyuncs.com/api/v1", "file:///etc/passwd", False),
        ("https://dashscope.aliyuncs.com/api/v1", "", False),
        ("http://127.0.0.1:1/api/v1", "http://127.0.0.1:2/a.wav", True),
        ("http://127.0.0.1:1/api/v1", "http://10.0.0.1/a.wav", False),
        ("https://dashscope.aliyuncs.com/api/v1", "http://[::1%25x.aliyuncs.com]/", False),
        (
            "https://dashscope.aliyuncs.com/api/v1",
            "http://[::ffff:127.0.0.1%25x.aliyuncs.com]/",
            False,
        ),
        ("https://dashscope.aliyuncs.com/api/v1", "http://[a.aliyuncs.com]/", False),
        ("https://dashscope.aliyuncs.com/api/v1", "https://x.aliyuncs.com:6379/", False),
        ("https://dashscope.aliyuncs.com/api/v1", "https://x.aliyuncs.com:x/", False),
    ],
)
def test_which_urls_are_fetched(base_url: str, url: str, allowed: bool) -> None:
    model = DashScopeTTSModel(KEY, base_url=base_url, result_hosts=("*.aliyuncs.com",))
    if allowed:
        model._checked_url(url)
    else:
        with pytest.raises(RequestRejected):
            model._checked_url(url)


def test_a_result_is_never_fetched_in_the_clear() -> None:
    model = DashScopeTTSModel(KEY, result_hosts=("*.aliyuncs.com",))
    found = model._checked_url("http://x.aliyuncs.com:80/a.wav?Signature=b#c")
    assert found == "https://x.aliyuncs.com/a.wav?Signature=b"


async def test_a_result_has_a_size_limit_and_must_be_whole() -> None:
    async with DashScopeServer() as server:
        with pytest.raises(RequestRejected, match="larger than 1000 bytes"):
            await audio_of(model_of(server, stream=False, result_bytes=1000))
        server.script(Fault("short_url"))
        with pytest.raises(IncompleteAudio) as raised:
            await audio_of(model_of(server, stream=False))
        assert raised.value.retryable


# --- errors


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (401, "InvalidApiKey", "Invalid API-key provided.", AuthenticationFailed),
        (403, "AccessDenied", "denied", AuthenticationFailed),
        (403, "AccessDenied.Unpurchased", "not purchased", AuthenticationFailed),
        (400, "Arrearage", "overdue", QuotaExceeded),
        (403, "AllocationQuota.FreeTierOnly", "free tier only", QuotaExceeded),
        (429, "Throttling.AllocationQuota", "Free allocated quota exceeded.", QuotaExceeded),
        (429, "Throttling.RateQuota", "slow down", RateLimited),
        (400, "Throttling", "slow down", RateLimited),
        (400, "InvalidParameter", "voice", RequestRejected),
        (400, "DataInspectionFailed", "inappropriate", RequestRejected),
        (404, "ModelNotFound", "no such model", RequestRejected),
        (400, "Model.NotExist", "no such model", RequestRejected),
        (500, "InternalError", "oops", ProviderUnavailable),
        (400, "InternalError.Algo", "oops", ProviderUnavailable),
        (503, "ServiceUnavailable", "busy", ProviderUnavailable),
        (418, "SomethingNew", "teapot", RequestRejected),
        (502, "SomethingNew", "bad gateway", ProviderUnavailable),
    ],
)
async def test_errors_are_told_apart_by_their_code(
    status: int, code: str, message: str, kind: type[ProviderError]
) -> None:
    async with DashScopeServer() as server:
        server.script(Fault("status", status, code, message))
        with pytest.raises(ProviderError) as raised:
            await audio_of(model_of(server))
    assert type(raised.value) is kind
    assert raised.value.provider_code == code
    assert raised.value.status == status
    assert raised.value.request_id == "req-1"
    assert message in raised.value.message


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InvalidApiKey", AuthenticationFailed),
        ("DataInspectionFailed", RequestRejected),
        ("Throttling", RateLimited),
        ("InternalError", ProviderUnavailable),
        ("SomethingNew", ProviderUnavailable),
    ],
)
async def test_in_mid_stream_the_status_400_means_nothing(
    code: str, kind: type[ProviderError]
) -> None:
    async with DashScopeServer() as server:
        server.script(Fault("error_frame", 400, code))
        with pytest.raises(ProviderError) as raised:
            await audio_of(model_of(server))
    assert type(raised.value) is kind
    assert raised.value.request_id == "req-1"


async def test_an_error_in_a_200_keeps_its_code() -> None:
    async with DashScopeServer() as server:
        server.script(Fault("json_error_200", 400, "InvalidParameter", "no such voice"))
        with pytest.raises(RequestRejected, match="no such voice"):
            await audio_of(model_of(server))


@pytest.mark.parametrize("kind", ["malformed_frame", "early_end", "empty_body", "error_frame"])
async def test_not_streamed_an_answer_without_speech_is_an_error_too(kind: str) -> None:
    async with DashScopeServer() as server:
        server.script(Fault(kind))
        with pytest.raises((IncompleteAudio, ProviderUnavailable)) as raised:
            await audio_of(model_of(server, stream=False))
        assert raised.value.retryable


async def test_the_servers_wish_to_wait_is_kept() -> None:
    async with DashScopeServer() as server:
        server.script(Fault("status", 429, "Throttling", retry_after="2.5"))
        with pytest.raises(RateLimited) as raised:
            await audio_of(model_of(server))
    assert raised.value.retry_after == 2.5


async def test_giving_up_closes_the_connection_before_it_returns() -> None:
    async with DashScopeServer(pace=60.0) as server:
        responses = await started(model_of(server), "A sentence that nobody hears to its end.")
        assert (await anext(responses)).content is not None
        await responses.aclose()
        assert not (await loop_connector())._acquired


async def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with DashScopeServer(keys=["another"]) as server:
        server.script(None, Fault("drop_before"))
        for _ in range(2):
            with pytest.raises(ProviderError):
                await audio_of(model_of(server))
    assert caplog.records
    assert KEY not in caplog.text


async def test_a_call_costs_no_thread() -> None:
    async with DashScopeServer() as server:
        before = threading.active_count()
        assert await audio_of(model_of(server))
        assert threading.active_count() <= before
