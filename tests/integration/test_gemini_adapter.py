"""Gemini's adapter: what it sends, and which ends are ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    MissingExtra,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
)
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers import GeminiTTSModel
from speechfleet_worker.providers.gemini import GeminiOptions
from speechfleet_worker.testing.gemini_server import GeminiServer
from speechfleet_worker.testing.wire import Fault, speech

pytestmark = pytest.mark.usefixtures("rehearsed")

TEXT = "Hello from the wire."


def model(server: GeminiServer, key: str = "g-1", **arguments: Any) -> GeminiTTSModel:
    options = arguments.pop("options", {})
    return GeminiTTSModel(key, base_url=server.url, options=GeminiOptions(**options), **arguments)


async def speak(model: GeminiTTSModel, text: str = TEXT) -> TTSResponse:
    last = await model.synthesize(Msg("a", text))
    if isinstance(last, AsyncGenerator):
        async for response in last:
            last = response
    assert isinstance(last, TTSResponse)
    return last


def audio(response: TTSResponse) -> bytes:
    return bytes(response.audio_from(0))


def snake(value: Any) -> Any:
    """The SDK writes some names in camel case and some not; a server takes both."""
    if isinstance(value, dict):
        names = ("".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in value)
        return dict(zip(names, map(snake, value.values()), strict=True))
    return [snake(each) for each in value] if isinstance(value, list) else value


async def test_the_request_holds_voice_options_and_text() -> None:
    async with GeminiServer() as server:
        await speak(
            model(
                server,
                voice="Puck",
                options={
                    "temperature": 0.5,
                    "seed": 7,
                    "language_code": "de-DE",
                    "instructions": "Say it softly:",
                },
            )
        )
    request = snake(server.calls[0].request)
    assert request["contents"] == [
        {"role": "user", "parts": [{"text": f"Say it softly:\n\n{TEXT}"}]}
    ]
    assert request["generation_config"] == {
        "response_modalities": ["AUDIO"],
        "temperature": 0.5,
        "seed": 7,
        "speech_config": {
            "language_code": "de-DE",
            "voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}},
        },
    }


async def test_a_dialogue_has_a_voice_for_each_speaker() -> None:
    async with GeminiServer() as server:
        await speak(model(server, options={"speakers": {"Ann": "Kore", "Bob": "Puck"}}))
    config = snake(server.calls[0].request)["generation_config"]["speech_config"]
    assert "voice_config" not in config
    voices = config["multi_speaker_voice_config"]["speaker_voice_configs"]
    assert [
        (v["speaker"], v["voice_config"]["prebuilt_voice_config"]["voice_name"]) for v in voices
    ] == [("Ann", "Kore"), ("Bob", "Puck")]


async def test_agentscopes_tutorial_runs_with_the_import_changed() -> None:
    async with GeminiServer() as server:
        tts_model = GeminiTTSModel(
            api_key="g-tutorial",
            model_name="gemini-2.5-flash-preview-tts",
            voice="Kore",
            stream=False,
            client_kwargs={"http_options": {"base_url": server.url}},
        )
        assert audio(await speak(tts_model)) == speech(TEXT)
        assert server.calls[0].key == "g-tutorial"


async def test_usage_and_request_id_are_kept() -> None:
    async with GeminiServer() as server:
        for stream in (True, False):
            last = await speak(model(server, stream=stream))
            assert last.usage is not None
            assert last.usage.input_tokens == last.usage.characters == len(TEXT)
            assert last.usage.output_tokens == len(speech(TEXT))
        assert last.metadata == {"request_id": "resp-2"}


async def test_a_whole_answer_is_a_wav_that_is_unwrapped() -> None:
    async with GeminiServer(sample_rate=16_000) as server:
        last = await speak(model(server, stream=False))
    assert audio(last) == speech(TEXT, 16_000)
    assert last.media_type == "audio/pcm;rate=16000"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (Fault("finish", code="OTHER"), IncompleteAudio, "OTHER"),
        (Fault("finish", code="MAX_TOKENS"), IncompleteAudio, "MAX_TOKENS"),
        (Fault("finish", code="SAFETY"), RequestRejected, "SAFETY"),
        (Fault("finish", code="PROHIBITED_CONTENT"), RequestRejected, "PROHIBITED_CONTENT"),
        (Fault("finish", code="OTHER", after=0), IncompleteAudio, "OTHER"),
        (Fault("status", 429, code="RESOURCE_EXHAUSTED"), RateLimited, "RESOURCE_EXHAUSTED"),
        (Fault("status", 503), ProviderUnavailable, "UNAVAILABLE"),
        (
            Fault("status", 400, message="API key not valid. Please pass a valid API key."),
            AuthenticationFailed,
            "INVALID_ARGUMENT",
        ),
    ],
)
async def test_only_stop_is_an_end(
    fault: Fault, kind: type[ProviderError], code: str, stream: bool
) -> None:
    async with GeminiServer() as server:
        server.script(fault)
        with pytest.raises(kind) as raised:
            await speak(model(server, stream=stream))
    assert raised.value.provider_code == code
    assert raised.value.retryable is kind.retryable


async def test_a_blocked_prompt_is_rejected_for_good() -> None:
    async with GeminiServer() as server:
        server.script(Fault("blocked", code="PROHIBITED_CONTENT", after=0))
        with pytest.raises(RequestRejected, match="PROHIBITED_CONTENT"):
            await speak(model(server))


async def test_the_delay_in_the_body_is_kept() -> None:
    async with GeminiServer() as server:
        server.script(
            Fault("status", 429, retry_after="2.5"),
            Fault("error_frame", 429, retry_after="4"),
        )
        for seconds in (2.5, 4.0):
            with pytest.raises(RateLimited) as raised:
                await speak(model(server))
            assert raised.value.retry_after == seconds


async def test_without_a_key_or_an_sdk_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticationFailed, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        await speak(GeminiTTSModel())
    monkeypatch.setitem(sys.modules, "google.genai", None)
    with pytest.raises(MissingExtra, match=r"speechfleet\[gemini\]"):
        await speak(GeminiTTSModel("g-1"))


async def test_the_environment_leads_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with GeminiServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GEMINI_API_KEY", "loses")
        assert audio(await speak(GeminiTTSModel())) == speech(TEXT)
        assert server.calls[0].key == "fake"


async def test_two_accounts_do_not_mix() -> None:
    async with GeminiServer(keys=["a", "b"]) as server:
        voices = {"a": "Kore", "b": "Puck"}
        models = [model(server, key, voice=voice) for key, voice in voices.items()]
        await asyncio.gather(*(speak(m) for m in models * 5))
        for call in server.calls:
            assert voices[call.key] in str(call.request)
        with pytest.raises(AuthenticationFailed):
            await speak(model(server, "c"))


def test_connections_end_with_the_loop_that_they_belong_to() -> None:
    with GeminiServer().thread() as server:
        one = model(server)
        for _ in range(2):
            assert audio(asyncio.run(speak(one))) == speech(TEXT)
