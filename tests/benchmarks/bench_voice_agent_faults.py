"""One fault in mid-sentence, under three frameworks: the fleet beside their own plugins.

    .venv/bin/python -m tests.benchmarks.bench_voice_agent_faults

Both speak the same three sentences by the same wire server, which plays the fault in the second
one. AgentScope's models ask for the whole reply in one call: the fault is at the same place there.
Each row says how much was heard, what of it twice, and how long the listener waited.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from threading import Thread

import dashscope
from agentscope.credential import DashScopeCredential, OpenAICredential
from agentscope.event import DataBlockDeltaEvent, DataBlockStartEvent
from agentscope.message import UserMsg
from agentscope.middleware import MiddlewareBase, TTSMiddleware
from agentscope.tts import DashScopeTTSModel, OpenAITTSModel
from livekit.agents import tts
from livekit.plugins import openai as livekit_openai
from loguru import logger
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.services.tts_service import TTSService
from pydantic import SecretStr

from speechfleet import AsyncClient
from speechfleet.audio import wav
from speechfleet.embedded import EmbeddedFleet
from speechfleet.integrations.agentscope import FleetTTSMiddleware
from speechfleet.integrations.livekit import FleetTTS
from speechfleet.integrations.pipecat import FleetTTSService
from speechfleet_worker.testing.dashscope_server import DashScopeServer
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault, WireServer, speech
from tests.support.agentscope_agents import Script, agent, writing
from tests.support.livekit_agent import talking
from tests.support.pipecat_bot import calling
from tests.support.playback import Playback

MODEL = "gpt-4o-mini-tts"
VOICE = "alloy"
DASHSCOPE_MODEL, DASHSCOPE_VOICE = "qwen3-tts-flash", "Cherry"
MILLISECONDS = 40
PATIENCE_S = 45.0
"""Seconds after which the listener hangs up."""
SENTENCES = (
    "The first sentence is spoken to the end.",
    "In the middle of the second one something breaks.",
    "The third one follows as if nothing had happened.",
)
DELTAS = [f"{word} " for word in " ".join(SENTENCES).split()]
AFTER = 2 * 24_000
BEGINNING = 200
"""Bytes of a letter by which it is told from others."""
FAULTS = {
    "none": None,
    "the connection drops": Fault("drop_middle", after=AFTER),
    "the audio stalls": Fault("stall", after=AFTER),
    "the answer is 429": Fault("status", 429, "rate_limit", retry_after="1"),
}


def sounding(pcm: bytes) -> bytes:
    """Audio without the silence that it begins with."""
    first = next((at for at in range(0, len(pcm), 2) if any(pcm[at : at + 2])), len(pcm))
    return pcm[first:]


def letters(pcm: bytes) -> str:
    """Read what was said: each letter has a tone of its own, and spaces are silent."""
    tones = {
        letter: sounding(speech(letter, 24_000, MILLISECONDS))
        for letter in set("".join(SENTENCES)) - {" "}
    }
    said, at = "", 0
    while at < len(pcm):
        start = pcm[at : at + BEGINNING]
        found = [letter for letter, tone in tones.items() if tone[:BEGINNING] == start]
        said += found[0] if found else ""
        at += len(tones[found[0]]) if found else 2
    return said


def in_one_call(fault: Fault | None) -> Fault | None:
    """Return the fault for a call that speaks the first sentence as well."""
    if fault is None or not fault.after:
        return fault
    return replace(fault, after=AFTER + len(speech(f"{SENTENCES[0]} ", 24_000, MILLISECONDS)))


@dataclass
class Outcome:
    """What the listener heard, and the errors that the framework was told of."""

    playback: Playback
    errors: int
    hung: bool

    def judge(self) -> tuple[float, float]:
        """(seconds lost, seconds heard twice), by the letters that were heard."""
        wanted = "".join(SENTENCES).replace(" ", "")
        heard = letters(bytes(self.playback.pcm))
        blocks = SequenceMatcher(None, wanted, heard, autojunk=False).get_matching_blocks()
        same = sum(block.size for block in blocks)
        second = MILLISECONDS / 1000
        return (len(wanted) - same) * second, (len(heard) - same) * second

    def row(self, name: str) -> str:
        lost, again = self.judge()
        heard = "whole, once" if not lost and not again else ""
        heard = heard or f"{lost:.1f} s lost, {again:.1f} s twice"
        pause = f"{self.playback.longest_pause:.1f} s"
        hung = ", then silent" if self.hung else ""
        return f"{name:60} {heard:28} {pause + hung:>22} {self.errors:>8}"

    @property
    def healed(self) -> bool:
        lost, again = self.judge()
        return not (lost or again or self.errors or self.hung or self.playback.longest_pause > 5)


async def under_livekit(voice: tts.TTS[str]) -> Outcome:
    async with talking(voice, DELTAS) as scene:
        hung = await _within_patience(scene.answer(PATIENCE_S))
        return Outcome(scene.ear.playback, len(scene.errors), hung)


async def under_pipecat(service: TTSService) -> Outcome:
    async with calling(service, patient=False) as call:
        await call.reply(DELTAS)
        hung = await _within_patience(call.spoken(PATIENCE_S))
        return Outcome(call.phone.playback, len(call.errors), hung)


async def under_agentscope(middleware: MiddlewareBase) -> Outcome:
    playback, errors, hung = Playback(), 0, False
    try:
        async with asyncio.timeout(PATIENCE_S):
            await _hear(middleware, playback)
    except TimeoutError:
        hung = True
    except Exception:  # noqa: BLE001 # whatever their model raises ends the reply
        errors = 1
    return Outcome(playback, errors, hung)


async def beside_this_loop(middleware: MiddlewareBase) -> Outcome:
    """Hear a model that blocks the event loop on which it is called."""
    outcome = Outcome(Playback(), 0, hung=True)

    async def hear() -> None:
        try:
            await _hear(middleware, outcome.playback)
        except Exception:  # noqa: BLE001 # whatever it raises ends the reply
            outcome.errors = 1
        outcome.hung = False

    listener = Thread(target=lambda: asyncio.run(hear()), daemon=True)
    listener.start()
    await asyncio.to_thread(listener.join, PATIENCE_S)
    return outcome


async def _hear(middleware: MiddlewareBase, playback: Playback) -> None:
    """Play a reply: raw samples from their model, a growing WAV from ours."""
    speaker, header = agent(Script(writing(*SENTENCES)), middleware), 0
    async for event in speaker.reply_stream(UserMsg("user", "Well?")):
        if isinstance(event, DataBlockStartEvent):
            header = wav.HEADER_BYTES if event.media_type == "audio/wav" else 0
        if isinstance(event, DataBlockDeltaEvent):
            pcm, header = b64decode(event.data or "")[header:], 0
            playback.play(pcm, len(pcm) / 2 / 24_000)


async def _within_patience(speaking: Awaitable[object]) -> bool:
    try:
        await speaking
    except TimeoutError:
        return True
    return False


def their_livekit(server: OpenAIServer) -> tts.TTS[str]:
    return livekit_openai.TTS(
        model=MODEL, voice=VOICE, base_url=server.base_url, api_key="x", response_format="pcm"
    )


def their_pipecat(server: OpenAIServer) -> TTSService:
    return OpenAITTSService(
        api_key="x", base_url=server.base_url, settings=OpenAITTSService.Settings(voice=VOICE)
    )


def their_agentscope(server: OpenAIServer) -> MiddlewareBase:
    credential = OpenAICredential(name="x", api_key=SecretStr("x"), base_url=server.base_url)
    parameters = OpenAITTSModel.Parameters(voice=VOICE, response_format="pcm")
    return TTSMiddleware(OpenAITTSModel(credential, MODEL, parameters))


def their_dashscope(server: DashScopeServer) -> MiddlewareBase:
    dashscope.base_http_api_url = server.base_url
    credential = DashScopeCredential(name="x", api_key=SecretStr("x"))
    parameters = DashScopeTTSModel.Parameters(voice=DASHSCOPE_VOICE)
    return TTSMiddleware(DashScopeTTSModel(credential, DASHSCOPE_MODEL, parameters))


@dataclass(frozen=True)
class Side:
    """Who speaks, and by which server. ``in_one_call``: it asks for all sentences at once."""

    name: str
    server: WireServer
    speak: Callable[[], Awaitable[Outcome]]
    in_one_call: bool = False

    def script(self, fault: Fault | None) -> None:
        self.server.script(*([in_one_call(fault)] if self.in_one_call else [None, fault]))


def sides(openai: OpenAIServer, qwen: DashScopeServer, client: AsyncClient) -> Iterator[Side]:
    """Yield ours and theirs, by pairs."""
    model = f"openai/{MODEL}"
    yield Side("LiveKit, FleetTTS", openai, lambda: under_livekit(
        FleetTTS(model, voice=VOICE, client=client, cache=False)
    ))  # fmt: skip
    yield Side("LiveKit, its OpenAI plugin", openai, lambda: under_livekit(their_livekit(openai)))
    yield Side("Pipecat, FleetTTSService", openai, lambda: under_pipecat(
        FleetTTSService(model=model, voice=VOICE, client=client, cache=False)
    ))  # fmt: skip
    yield Side("Pipecat, its OpenAI service", openai, lambda: under_pipecat(their_pipecat(openai)))
    yield Side("AgentScope, FleetTTSMiddleware", openai, lambda: under_agentscope(
        FleetTTSMiddleware(model, VOICE, client, cache=False)
    ))  # fmt: skip
    yield Side("AgentScope, its OpenAI model", openai, lambda: under_agentscope(
        their_agentscope(openai)
    ), in_one_call=True)  # fmt: skip
    yield Side("AgentScope, FleetTTSMiddleware, Qwen", qwen, lambda: under_agentscope(
        FleetTTSMiddleware(f"dashscope/{DASHSCOPE_MODEL}", DASHSCOPE_VOICE, client, cache=False)
    ))  # fmt: skip
    yield Side("AgentScope, its DashScope model", qwen, lambda: beside_this_loop(
        their_dashscope(qwen)
    ), in_one_call=True)  # fmt: skip


@asynccontextmanager
async def stage() -> AsyncIterator[list[Side]]:
    """All sides: the wire servers, and a client of a fleet that speaks by them."""
    with (
        OpenAIServer(milliseconds=MILLISECONDS, pace=0.5).thread() as openai,
        DashScopeServer(milliseconds=MILLISECONDS, pace=0.5).thread() as qwen,
        tempfile.TemporaryDirectory() as folder,
        EmbeddedFleet(
            Path(folder), environ=openai.environment() | qwen.environment(), lanes=["session"]
        ) as fleet,
    ):
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            yield list(sides(openai, qwen, client))


async def measure() -> int:
    failed = 0
    async with stage() as all_sides:
        print(f"{'':60} {'heard':28} {'longest pause':>22} {'errors':>8}")
        for name, fault in FAULTS.items():
            for side in all_sides:
                side.script(fault)
                outcome = await side.speak()
                print(outcome.row(f"{name}: {side.name}"), flush=True)
                failed += "Fleet" in side.name and not outcome.healed
    return int(failed > 0)


if __name__ == "__main__":
    logger.remove()
    logging.disable(logging.WARNING)
    sys.exit(asyncio.run(measure()))
