"""An accident in mid-sentence, under AgentScope: the turn is heard whole, once.

The listener hears one short pause, and the framework hears of no error.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from agentscope.event import DataBlockDeltaEvent, DataBlockStartEvent, ReplyEndEvent
from agentscope.message import UserMsg
from agentscope.middleware import MiddlewareBase, TTSMiddleware

from speechfleet import AsyncClient
from speechfleet.audio import wav
from speechfleet.integrations.agentscope import FleetTTSMiddleware, FleetTTSModel
from speechfleet_worker.testing.openai_server import OpenAIServer
from tests.support.accidents import (
    ACCIDENTS,
    LINES,
    LONGEST_PAUSE_S,
    MODEL,
    NOTICED,
    RATE,
    all_workers_serve,
    cause,
    provider_server,
    whole_speech,
)
from tests.support.agentscope_agents import Heard, Script, agent, writing
from tests.support.playback import Playback
from tests.support.stage import Stage, staged


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


async def listen(middleware: MiddlewareBase) -> tuple[Heard, Playback]:
    """Hear a reply as a player of the growing WAV does."""
    reply, playback = Heard(), Playback()
    speaker = agent(Script(writing(*LINES)), middleware)
    async for event in speaker.reply_stream(UserMsg("user", "Well?")):
        reply.take(event)
        if isinstance(event, DataBlockStartEvent):
            header = wav.HEADER_BYTES
        if isinstance(event, DataBlockDeltaEvent):
            pcm, header = b64decode(event.data or "")[header:], 0
            playback.play(pcm, len(pcm) / 2 / RATE)
    return reply, playback


@pytest.mark.parametrize("ours", [True, False], ids=["our middleware", "their middleware"])
@pytest.mark.parametrize("accident", ACCIDENTS)
async def test_the_reply_is_heard_whole_and_once(
    stage: Stage, provider: OpenAIServer, client: AsyncClient, accident: str, ours: bool
) -> None:
    middleware = (
        FleetTTSMiddleware(MODEL, "alloy", client, strict=True, cache=False)
        if ours
        else TTSMiddleware(FleetTTSModel(MODEL, "alloy", client=client, strict=True, cache=False))
    )
    await all_workers_serve(stage, client)
    async with asyncio.timeout(240), asyncio.TaskGroup() as tasks:
        tasks.create_task(cause(stage, provider, client, accident))
        reply, playback = await listen(middleware)
    assert reply.audio == [whole_speech()]
    assert reply.text == " ".join(LINES)
    assert isinstance(reply.events[-1], ReplyEndEvent)
    assert playback.longest_pause <= LONGEST_PAUSE_S
