"""LangChain and the OpenAI Agents SDK speak through the fleet, by a class of one line each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agents.voice import (
    AudioInput,
    TTSModelSettings,
    VoicePipeline,
    VoicePipelineConfig,
    VoiceStreamEventAudio,
)
from agents.voice.testing import ScriptedSTTModel, ScriptedVoiceWorkflow
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable

from speechfleet import AsyncClient, JobFailed
from speechfleet.integrations import langchain, openai_agents
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault, speech
from tests.support.stage import Stage, staged

MODEL = "openai/gpt-4o-mini-tts"
MILLISECONDS = 20
FIRST, SECOND = "The first sentence is spoken whole.", "The second one follows it."
REFUSED = Fault("status", status=400)


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAIServer]:
    with OpenAIServer(milliseconds=MILLISECONDS).thread() as server:
        yield server


@pytest.fixture(scope="module")
def stage(module_folder: Path, provider: OpenAIServer) -> Iterator[Stage]:
    with staged(module_folder, provider.environment(), sessions=True) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


def spoken(text: str) -> bytes:
    return speech(text, 24_000, MILLISECONDS)


# --- OpenAI Agents SDK ----------------------------------------------------------------------


async def events(model: openai_agents.FleetTTS, **settings: Any) -> list[bytes]:
    """The audio of one turn of two groups, by event."""
    pipeline = VoicePipeline(
        workflow=ScriptedVoiceWorkflow([(f"{FIRST} ", SECOND)]),
        stt_model=ScriptedSTTModel("Speak."),
        tts_model=model,
        config=VoicePipelineConfig(
            tracing_disabled=True, tts_settings=TTSModelSettings(**settings)
        ),
    )
    result = await pipeline.run(AudioInput(np.zeros(240, np.int16)))
    return [
        event.data.tobytes()
        async for event in result.stream()
        if isinstance(event, VoiceStreamEventAudio) and event.data is not None
    ]


async def test_a_turn_is_heard_in_order_and_in_tenths_of_a_second(client: AsyncClient) -> None:
    heard = await events(openai_agents.FleetTTS(MODEL, client=client))
    assert b"".join(heard) == spoken(FIRST) + spoken(SECOND)
    assert all(len(each) <= openai_agents.EVENT_BYTES for each in heard)


@pytest.mark.parametrize("buffer_size", [1, 7, 5000])
async def test_an_event_is_no_longer_with_another_buffer(
    client: AsyncClient, buffer_size: int
) -> None:
    heard = await events(openai_agents.FleetTTS(MODEL, client=client), buffer_size=buffer_size)
    assert b"".join(heard) == spoken(FIRST) + spoken(SECOND)
    assert max(map(len, heard)) <= max(openai_agents.EVENT_BYTES, 2 * buffer_size)


async def test_a_group_that_cannot_be_spoken_is_left_out(
    client: AsyncClient, provider: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    voice = openai_agents.FleetTTS("openai/tts-1", client=client, cache=False)
    provider.script(REFUSED)
    with caplog.at_level(logging.WARNING, openai_agents.log.name):
        heard = b"".join(await events(voice))
    assert heard in (spoken(FIRST), spoken(SECOND)), "whichever call came second"
    assert "request_rejected" in caplog.text


async def test_a_strict_voice_raises(client: AsyncClient, provider: OpenAIServer) -> None:
    voice = openai_agents.FleetTTS("openai/tts-1", client=client, cache=False, strict=True)
    provider.script(REFUSED)
    with pytest.raises(JobFailed, match="scripted fault"):
        await events(voice)


async def test_the_pipelines_settings_go_before(
    client: AsyncClient, provider: OpenAIServer
) -> None:
    voice = openai_agents.FleetTTS(MODEL, voice="alloy", client=client, cache=False)
    before = len(provider.calls)
    await events(voice, voice={"id": "nova"}, speed=1.5, instructions="Whisper.")
    for call in provider.calls[before:]:
        assert call.request["voice"] == "nova"
        assert call.request["speed"] == 1.5
        assert call.request["instructions"] == "Whisper."


# --- LangChain ------------------------------------------------------------------------------


def chain(client: AsyncClient, model: str = MODEL) -> Runnable[str, bytes]:
    writer = FakeListChatModel(responses=[f"{FIRST} {SECOND}"])
    voice = langchain.FleetTTS(model, client=client, cache=False)
    return writer | StrOutputParser() | voice


async def test_a_chain_ends_in_speech(client: AsyncClient) -> None:
    heard = b"".join([audio async for audio in chain(client).astream("Speak.")])
    assert heard.startswith(spoken(FIRST))
    assert heard.endswith(spoken(SECOND))
    assert await chain(client).ainvoke("Speak.") == heard


async def test_a_chain_that_is_left_falls_silent(
    client: AsyncClient, provider: OpenAIServer
) -> None:
    stall = Fault("stall", after=4800)
    provider.script(stall)
    audio = chain(client).astream("Speak.")
    assert isinstance(audio, AsyncGenerator)
    assert await anext(audio)
    await audio.aclose()
    await asyncio.to_thread(
        provider.wait,
        lambda it: any(call.fault is stall and call.outcome == "aborted" for call in it.calls),
    )


async def test_a_chain_raises_what_the_fleet_cannot_speak(
    client: AsyncClient, provider: OpenAIServer
) -> None:
    provider.script(REFUSED)
    with pytest.raises(JobFailed):
        await chain(client).ainvoke("Speak.")
