"""Known servers of OpenAI's protocol: each profile speaks, over a server with its peculiarity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from speechfleet.errors import IncompleteAudio
from speechfleet.provider_profiles import PROFILES
from speechfleet.settings import Settings
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.openai import OpenAITTSModel
from speechfleet_worker.testing.conformance import spoken
from speechfleet_worker.testing.http_server import Reply
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Call, Fault, speech

pytestmark = pytest.mark.usefixtures("rehearsed")

TEXT = "Hello from another server."


class Groq(OpenAIServer):
    """Refuses raw PCM."""

    async def _speech(self, call: Call, reply: Reply) -> None:
        if call.request.get("response_format") == "pcm":
            call.fault = Fault("status", 400, "invalid_format", "pcm is not supported")
        await super()._speech(call, reply)


class OpenRouter(OpenAIServer):
    """Tells the rate and the channels in the media type."""

    async def _raw(self, call: Call, reply: Reply) -> None:
        reply.start(f"audio/pcm;rate={self.sample_rate};channels=1", {"X-Generation-Id": "gen-1"})
        async for piece in self.pieces(call):
            await reply.write(piece)
        await reply.finish()


class Inworld(OpenAIServer):
    """Knows its own models only."""

    async def _speech(self, call: Call, reply: Reply) -> None:
        if not str(call.request.get("model")).startswith("inworld-"):
            call.fault = Fault("status", 400, "unknown_model", "no such model")
        await super()._speech(call, reply)


class Mistral(OpenAIServer):
    """Answers with JSON that holds the audio."""

    async def _raw(self, call: Call, reply: Reply) -> None:
        await reply.whole({"audio_data": "AAAA"})


SERVERS: Mapping[str, OpenAIServer] = {
    "groq": Groq(),
    "openrouter": OpenRouter(sample_rate=44_100),
    "inworld": Inworld(),
    "kokoro": OpenAIServer(flavour="kokoro"),
    "vllm": OpenAIServer(flavour="vllm", sample_rate=16_000),
    "speaches": OpenAIServer(flavour="kokoro"),
    "localai": OpenAIServer(sample_rate=22_050),
}


@pytest.mark.parametrize("name", PROFILES)
async def test_a_profile_speaks(name: str) -> None:
    profile = PROFILES[name]
    async with SERVERS[name] as server:
        setting: dict[str, Any] = json.loads(profile.setting(name))
        setting[name]["base_url"] = server.base_url
        settings = Settings.model_validate({"endpoints": setting})
        environ = {profile.endpoint.key_env or "": "key-1"}
        name_of_model = f"{name}/{profile.model}"
        model = registry.build(
            name_of_model, voice=profile.voice, settings=settings, environ=environ
        )
        responses = await model.synthesize(Msg("a", TEXT))
        assert not isinstance(responses, TTSResponse)
        *_, last = [response async for response in responses]
    assert bytes(last.audio_from(0)) == speech(TEXT, server.sample_rate)
    assert f"rate={server.sample_rate}" in last.media_type


async def test_audio_inside_json_is_no_audio() -> None:
    async with Mistral() as server:
        with pytest.raises(IncompleteAudio, match="without audio"):
            await spoken(OpenAITTSModel("key-1", base_url=server.base_url), TEXT)
