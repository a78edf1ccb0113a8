"""OpenAI's adapter: what it sends, what it makes of every answer, and how it leaves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

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
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers import OpenAITTSModel
from speechfleet_worker.providers.openai import OpenAIOptions
from speechfleet_worker.providers.sse import decoded, event_in
from speechfleet_worker.testing.http_server import Reply, Request
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault, speech

pytestmark = pytest.mark.usefixtures("rehearsed")

TEXT = "Hello from the wire."


def model(server: OpenAIServer, key: str = "sk-1", **arguments: Any) -> OpenAITTSModel:
    options = arguments.pop("options", {})
    return OpenAITTSModel(
        key, base_url=server.base_url, options=OpenAIOptions(**options), **arguments
    )


async def speak(model: OpenAITTSModel, text: str = TEXT) -> TTSResponse:
    last = TTSResponse()
    responses = await model.synthesize(Msg("a", text))
    assert isinstance(responses, AsyncGenerator)
    async for response in responses:
        last = response
    return last


async def collect(responses: AsyncIterator[TTSResponse], into: list[TTSResponse]) -> None:
    """Also what came before a failure."""
    async for response in responses:
        into.append(response)  # noqa: PERF401 -- a comprehension would lose it


def audio(response: TTSResponse) -> bytes:
    return bytes(response.audio_from(0))


# --- what is sent


async def test_only_what_was_set_is_sent() -> None:
    async with OpenAIServer() as server:
        await speak(model(server))
        await speak(
            model(
                server,
                model_name="kokoro",
                voice="af_heart",
                options={
                    "speed": 1.25,
                    "instructions": "softly",
                    "extra_body": {"lang_code": "a"},
                    "sample_rate": 16_000,
                },
            )
        )
        await speak(model(server, voice="voice_123", generate_kwargs={"speed": 2.0}))
    plain = {"model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "pcm"}
    assert [call.request for call in server.calls] == [
        {**plain, "input": TEXT},
        {
            "model": "kokoro",
            "voice": "af_heart",
            "response_format": "pcm",
            "speed": 1.25,
            "instructions": "softly",
            "lang_code": "a",
            "input": TEXT,
        },
        {**plain, "voice": {"id": "voice_123"}, "speed": 2.0, "input": TEXT},
    ]


async def test_agentscopes_tutorial_runs_with_the_import_changed() -> None:
    async with OpenAIServer() as server:
        tts_model = OpenAITTSModel(
            api_key="sk-tutorial",
            model_name="gpt-4o-mini-tts",
            voice="alloy",
            stream=False,
            client_kwargs={"base_url": server.base_url},
        )
        response = await tts_model.synthesize(Msg("assistant", "Hello", "assistant"))
        assert isinstance(response, TTSResponse)
        assert response["content"]["source"]["media_type"] == "audio/pcm;rate=24000"
        assert audio(response) == speech("Hello")
        assert server.calls[0].key == "sk-tutorial"


async def test_key_and_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with OpenAIServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        assert audio(await speak(OpenAITTSModel())) == speech(TEXT)
        assert server.calls[0].key == "fake"
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(AuthenticationFailed, match="OPENAI_API_KEY"):
            await speak(OpenAITTSModel())


async def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"speechfleet\[openai\]"):
        await speak(OpenAITTSModel("sk-1"))


# --- what comes back


async def test_events_bring_the_usage() -> None:
    async with OpenAIServer() as server:
        last = await speak(model(server, options={"stream_format": "sse"}))
    assert last.usage is not None
    assert last.usage.input_tokens == len(TEXT)
    assert last.usage.output_tokens > 0
    assert last.usage.characters == len(TEXT)
    assert last.metadata == {"request_id": "req_1"}


async def test_a_server_that_ignores_the_format_is_understood() -> None:
    async with OpenAIServer(flavour="vllm", sample_rate=44_100) as server:
        last = await speak(model(server))
        assert server.calls[0].request["response_format"] == "pcm"
    assert audio(last) == speech(TEXT, 44_100)
    assert last.media_type == "audio/pcm;rate=44100"


async def test_a_rate_that_no_answer_tells_can_be_declared() -> None:
    async with OpenAIServer(sample_rate=16_000) as server:
        declared = await speak(model(server, sample_rate=16_000))
        by_option = await speak(model(server, options={"sample_rate": 16_000}))
    assert declared.media_type == by_option.media_type == "audio/pcm;rate=16000"


@pytest.mark.parametrize("options", [{}, {"stream_format": "sse"}], ids=["raw", "events"])
async def test_audio_that_ends_early_is_never_a_success(options: dict[str, Any]) -> None:
    async with OpenAIServer() as server:
        server.script(Fault("early_end", after=20_000))
        kind = IncompleteAudio if options else ProviderUnavailable
        heard: list[TTSResponse] = []
        responses = await model(server, options=options).synthesize(Msg("a", TEXT))
        assert isinstance(responses, AsyncGenerator)
        with pytest.raises(kind):
            await collect(responses, heard)
        assert not any(response.is_last for response in heard)
        assert audio(heard[-1]) == speech(TEXT)[:20_000]


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (Fault("status", 408), ProviderUnavailable, "server_error"),
        (Fault("status", 409), ProviderUnavailable, "server_error"),
        (Fault("status", 422, "bad_voice"), RequestRejected, "bad_voice"),
        (Fault("status", 429, "rate_limit_exceeded"), RateLimited, "rate_limit_exceeded"),
        (Fault("status", 429, "insufficient_quota"), QuotaExceeded, "insufficient_quota"),
        (Fault("json_error_200", code="insufficient_quota"), QuotaExceeded, "insufficient_quota"),
        (Fault("json_error_200", code="server_busy"), IncompleteAudio, "server_busy"),
    ],
)
async def test_the_providers_code_is_kept(
    fault: Fault, kind: type[ProviderError], code: str
) -> None:
    async with OpenAIServer() as server:
        server.script(fault)
        with pytest.raises(kind, match="scripted fault") as raised:
            await speak(model(server))
    assert raised.value.provider_code == code
    assert raised.value.status == (200 if fault.kind == "json_error_200" else fault.status)


@pytest.mark.parametrize("flavour", ["kokoro", "vllm"])
async def test_the_errors_of_compatible_servers(flavour: Any) -> None:
    async with OpenAIServer(flavour=flavour) as server:
        server.script(
            Fault("status", 400, "invalid_model", "unknown model"),
            Fault("status", 429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
            Fault("json_error_200", 400, "400", "unknown model"),
        )
        with pytest.raises(RequestRejected, match=r"^unknown model$"):
            await speak(model(server))
        with pytest.raises(RateLimited) as limited:
            await speak(model(server))
        assert limited.value.retry_after == 0.0
        with pytest.raises(RequestRejected, match=r"^unknown model$"):
            await speak(model(server))


class Proxy(OpenAIServer):
    """Answers as a gateway in front of a dead server does."""

    status = 502

    async def respond(self, request: Request, reply: Reply) -> None:
        await reply.whole(b"<html><h1>Bad Gateway</h1></html>", self.status, "text/html")


async def test_a_page_of_html_is_no_message() -> None:
    async with Proxy() as server:
        with pytest.raises(ProviderUnavailable, match=r"^the provider answered with HTTP 502$"):
            await speak(model(server))
        server.status = 200
        with pytest.raises(IncompleteAudio, match=r"^the server answered with text/html$"):
            await speak(model(server))


async def test_an_error_among_the_events() -> None:
    async with OpenAIServer(flavour="vllm") as server:
        server.script(Fault("error_frame", 500, message="out of memory"))
        with pytest.raises(ProviderUnavailable, match="out of memory"):
            await speak(model(server, options={"stream_format": "sse"}))


def test_events_of_every_dialect_are_read() -> None:
    lines = ("event: x", 'data:{"a":1}', "", ': comment {"a":2}', "data: [DONE]", "data: 3")
    assert [event_in(line) for line in lines] == [{}, {"a": 1}, {}, {}, {}, {}]
    with pytest.raises(IncompleteAudio):
        event_in('data: {"a":')
    with pytest.raises(IncompleteAudio):
        decoded("not base64!")


# --- connections


async def test_two_accounts_do_not_mix() -> None:
    async with OpenAIServer(keys=["sk-a", "sk-b"]) as server:
        voices = {"sk-a": "alloy", "sk-b": "echo"}
        models = [model(server, key, voice=voice) for key, voice in voices.items()]
        await asyncio.gather(*(speak(m) for m in models * 10))
        assert all(voices[call.key] == call.request["voice"] for call in server.calls)
        assert sum(call.key == "sk-a" for call in server.calls) == 10
        with pytest.raises(AuthenticationFailed):
            await speak(model(server, "sk-c"))


async def test_calls_of_an_account_share_their_connections() -> None:
    async with OpenAIServer() as server:
        for _ in range(5):
            await speak(model(server))
        assert len(server.connections) == 1


def test_connections_end_with_the_loop_that_they_belong_to() -> None:
    with OpenAIServer().thread() as server:
        one = model(server)
        for _ in range(2):
            assert audio(asyncio.run(speak(one))) == speech(TEXT)
        assert len(server.calls) == 2


async def test_two_hundred_calls_wait_for_nobody() -> None:
    timeouts = Timeouts(connect=240.0, first_audio=240.0)  # the first of them waits for the last
    async with OpenAIServer() as server:
        server.may_speak.clear()
        calls = [
            asyncio.ensure_future(speak(model(server, timeouts=timeouts))) for _ in range(200)
        ]
        await server.until(lambda s: sum(c.outcome == "open" for c in s.calls) == 200, 240.0)
        server.may_speak.set()
        assert all(audio(response) == speech(TEXT) for response in await asyncio.gather(*calls))
