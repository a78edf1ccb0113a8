"""Real clients that know OpenAI alone: Open WebUI, and the plugins of LiveKit and Pipecat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from livekit.plugins import openai as livekit_openai
from pipecat.frames.frames import ErrorFrame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.services.openai.tts import OpenAITTSService

from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault, speech
from tests.support import open_webui
from tests.support.gateways import gateway
from tests.support.pipecat_frames import run
from tests.support.stage import Stage, staged

MODEL = "gpt-4o-mini-tts"
MILLISECONDS = 20
TEXT = "The first sentence is spoken. The second one follows it."
SPOKEN = b"".join(
    speech(sentence, 24_000, MILLISECONDS)
    for sentence in ("The first sentence is spoken.", "The second one follows it.")
)


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAIServer]:
    with OpenAIServer(milliseconds=MILLISECONDS).thread() as server:
        yield server


@pytest.fixture(scope="module")
def stage(module_folder: Path, provider: OpenAIServer) -> Iterator[Stage]:
    with staged(module_folder, provider.environment()) as running:
        yield running


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    with gateway(stage.fleet, module_folder) as running:
        yield f"{running}/v1"


async def test_open_webui_speaks_by_the_realtime_protocol(url: str) -> None:
    for text in (TEXT, "Another connection, another text."):
        pcm = await open_webui.speak(url, text, model=MODEL, voice="alloy", key="none")
        if text is TEXT:
            assert pcm == SPOKEN


async def test_open_webui_gives_up_at_once_where_the_provider_refuses(
    url: str, provider: OpenAIServer
) -> None:
    provider.script(Fault("status", 400, "invalid_value"))
    with pytest.raises(open_webui.GaveUp, match="request_rejected"):
        await open_webui.speak(url, "Refused words.", model=MODEL, voice="alloy", key="none")


@pytest.mark.parametrize(
    ("model", "format"),
    [(MODEL, "pcm"), ("tts-1", "pcm"), (MODEL, "mp3"), ("tts-1", "wav")],
    ids=["events", "bytes", "events-of-mp3", "wav"],
)
async def test_livekits_plugin_for_openai_speaks(url: str, model: str, format: str) -> None:
    voice = livekit_openai.TTS(
        model=model, voice="alloy", base_url=url, api_key="none", response_format=format
    )
    async with voice.synthesize(TEXT) as stream:
        frames = [event.frame async for event in stream]
    await voice.aclose()
    heard = b"".join(frame.data.tobytes() for frame in frames)
    assert {frame.sample_rate for frame in frames} == {24_000}
    if format == "mp3":
        assert len(heard) == pytest.approx(len(SPOKEN), rel=0.3)
    else:
        assert heard[: len(SPOKEN)] == SPOKEN
        assert not any(heard[len(SPOKEN) :]), "LiveKit fills its last frame"


async def test_pipecats_service_for_openai_speaks(url: str) -> None:
    settings: Any = OpenAITTSService.Settings(voice="alloy", model=MODEL)
    async with openai.DefaultAsyncHttpxClient() as http:  # the service closes none
        service = OpenAITTSService(
            api_key="none", base_url=url, http_client=http, settings=settings
        )
        down, _ = await run(service, [TTSSpeakFrame(TEXT)])
    assert not [frame for frame in down if isinstance(frame, ErrorFrame)]
    assert b"".join(f.audio for f in down if isinstance(f, TTSAudioRawFrame)) == SPOKEN
