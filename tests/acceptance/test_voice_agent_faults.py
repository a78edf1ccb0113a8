"""An accident in mid-sentence, under LiveKit and under Pipecat: the turn is heard whole, once.

The listener hears one short pause, and the framework hears of no error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from speechfleet import AsyncClient
from speechfleet.integrations.livekit import FleetTTS
from speechfleet.integrations.pipecat import FleetTTSService
from speechfleet_worker.testing.openai_server import OpenAIServer
from tests.support.accidents import (
    ACCIDENTS,
    LINES,
    LONGEST_PAUSE_S,
    MODEL,
    NOTICED,
    all_workers_serve,
    cause,
    provider_server,
    whole_speech,
)
from tests.support.livekit_agent import talking
from tests.support.pipecat_bot import calling
from tests.support.playback import Playback
from tests.support.stage import Stage, staged

TEXT = " ".join(LINES)
DELTAS = [f"{word} " for word in TEXT.split()]
EVERY_ACCIDENT = pytest.mark.parametrize("accident", ACCIDENTS)


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAIServer]:
    with provider_server().thread() as server:
        yield server


@pytest.fixture(scope="module")
def stage(module_folder: Path, provider: OpenAIServer) -> Iterator[Stage]:
    """Two workers that are started again when they die."""
    environ = {**provider.environment(), **NOTICED}
    with staged(module_folder, environ, workers=2, lanes=["session"]) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


def check(playback: Playback) -> None:
    whole = whole_speech()
    heard = bytes(playback.pcm[: len(whole)])
    assert heard == whole, "every sample of it, and none of them twice"
    assert not any(playback.pcm[len(whole) :]), "nothing follows it"
    assert playback.longest_pause <= LONGEST_PAUSE_S


@EVERY_ACCIDENT
async def test_livekit_hears_nothing_of_it(
    stage: Stage, provider: OpenAIServer, client: AsyncClient, accident: str
) -> None:
    voice = FleetTTS(MODEL, voice="alloy", client=client, cache=False)
    await all_workers_serve(stage, client)
    async with talking(voice, DELTAS) as scene, asyncio.TaskGroup() as tasks:
        tasks.create_task(cause(stage, provider, client, accident))
        await scene.answer()
        assert scene.errors == []
        assert [text.split() for text in scene.history] == [TEXT.split()]
    check(scene.ear.playback)


@EVERY_ACCIDENT
async def test_pipecat_hears_nothing_of_it(
    stage: Stage, provider: OpenAIServer, client: AsyncClient, accident: str
) -> None:
    service = FleetTTSService(model=MODEL, voice="alloy", client=client, cache=False)
    await all_workers_serve(stage, client)
    async with calling(service) as call, asyncio.TaskGroup() as tasks:
        tasks.create_task(cause(stage, provider, client, accident))
        await call.reply(DELTAS)
        await call.spoken()
        assert call.errors == []
        assert [text.split() for text in call.history] == [TEXT.split()]
    check(call.phone.playback)
