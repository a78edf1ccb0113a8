"""Voice agents: how much later the fleet is heard, and how soon it falls silent.

    .venv/bin/python -m tests.benchmarks.bench_voice_agents

First audio: from the last word of the first sentence to the first frame, beside the framework's
own OpenAI plugin on the same wire server; the language model writes fifty words a second.
Barge-in: from the interruption to the end of the provider's call, which speaks in real time.
Fifty agents in this process: from the provider's write of a frame to the integration's.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median

from livekit.agents import tts
from livekit.plugins import openai as livekit_openai
from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.services.tts_service import TTSService
from pipecat.workers.runner import WorkerRunner

from speechfleet import AsyncClient
from speechfleet.embedded import EmbeddedFleet
from speechfleet.integrations.fleet_voice import FleetVoice
from speechfleet.integrations.livekit import FleetTTS
from speechfleet.integrations.pipecat import FleetTTSService
from speechfleet_worker.testing.openai_server import OpenAIServer
from tests.benchmarks.floors import Floors, main, percentiles
from tests.benchmarks.stamping_server import STAMP, stamping_server

MODEL, VOICE = "gpt-4o-mini-tts", "alloy"
WORD_S = 0.02
ROUNDS = 30
AGENTS = 50
LATER_MS, BARGE_IN_MS, ADDED_MS = 15.0, 100.0, 50.0
FRAME = 4800
"""Bytes: 0.1 s."""


def words(sentence: str) -> list[str]:
    """The deltas of a sentence; the next one has begun, so that its end is certain."""
    return [f"{word} " for word in f"{sentence} And it goes on like this.".split()]


def sentence(name: str, number: int) -> str:
    return f"This is the sentence number {number} of {name}."


# --- LiveKit --------------------------------------------------------------------------------


async def livekit_first_audio(voice: tts.TTS[str], text: str) -> float:
    """Milliseconds from the sentence's last word to the first frame."""
    adapted = voice if voice.capabilities.streaming else tts.StreamAdapter(tts=voice)
    ended = 0.0
    async with adapted.stream() as stream:

        async def write() -> None:
            nonlocal ended
            for number, delta in enumerate(words(text)):
                stream.push_text(delta)
                if number == len(text.split()) - 1:
                    ended = time.perf_counter()
                await asyncio.sleep(WORD_S)
            stream.end_input()

        writing = asyncio.create_task(write())
        first = 0.0
        async for _ in stream:
            first = first or time.perf_counter()
        await writing
    return 1000 * (first - ended)


async def livekit_barge_in(voice: FleetTTS, server: OpenAIServer, text: str) -> float:
    """Milliseconds from `aclose` to the end of the provider's call."""
    stream = voice.stream()
    stream.push_text(text)
    stream.end_input()
    await anext(stream)
    began = time.perf_counter()
    await asyncio.gather(stream.aclose(), closed(server, text))
    return 1000 * (time.perf_counter() - began)


async def closed(server: OpenAIServer, text: str) -> None:
    await asyncio.to_thread(
        server.wait, lambda it: any(c.text in text and c.outcome == "aborted" for c in it.calls)
    )


# --- Pipecat --------------------------------------------------------------------------------


class Sink(FrameProcessor):
    """Notes when the first audio of a turn comes, and when the turn has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.first = 0.0
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.first = self.first or time.perf_counter()
            self.began.set()
        if isinstance(frame, LLMFullResponseEndFrame):
            self.ended.set()
        await self.push_frame(frame, direction)

    def forget(self) -> None:
        self.first = 0.0
        self.began.clear()
        self.ended.clear()


@asynccontextmanager
async def pipeline(service: TTSService) -> AsyncIterator[tuple[PipelineWorker, Sink]]:
    sink = Sink()
    worker = PipelineWorker(
        Pipeline([service, sink]), cancel_on_idle_timeout=False, enable_rtvi=False
    )
    started = asyncio.Event()

    async def on_started(*_: object) -> None:
        started.set()

    worker.add_event_handler("on_pipeline_started", on_started)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await started.wait()
    yield worker, sink
    await worker.cancel()
    await running


async def pipecat_first_audio(worker: PipelineWorker, sink: Sink, text: str) -> float:
    sink.forget()
    await worker.queue_frame(LLMFullResponseStartFrame())
    ended = 0.0
    for number, delta in enumerate(words(text)):
        await worker.queue_frame(LLMTextFrame(delta))
        if number == len(text.split()) - 1:
            ended = time.perf_counter()
        await asyncio.sleep(WORD_S)
    await worker.queue_frame(LLMFullResponseEndFrame())
    await sink.ended.wait()
    return 1000 * (sink.first - ended)


async def pipecat_barge_in(
    worker: PipelineWorker, sink: Sink, server: OpenAIServer, text: str
) -> float:
    sink.forget()
    for frame in (LLMFullResponseStartFrame(), LLMTextFrame(text), LLMFullResponseEndFrame()):
        await worker.queue_frame(frame)
    await sink.began.wait()
    began = time.perf_counter()
    await worker.queue_frame(InterruptionFrame())
    await closed(server, text)
    return 1000 * (time.perf_counter() - began)


# --- rows -----------------------------------------------------------------------------------


async def first_audio(client: AsyncClient, server: OpenAIServer, floors: Floors) -> None:
    """Ours and theirs alternate, so that the machine's moods hit both."""
    ours = FleetTTS(f"openai/{MODEL}", voice=VOICE, client=client, cache=False)
    theirs = livekit_openai.TTS(
        model=MODEL, voice=VOICE, base_url=server.base_url, api_key="x", response_format="pcm"
    )
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(ROUNDS):
        times["ours"].append(await livekit_first_audio(ours, sentence("ours", number)))
        times["theirs"].append(await livekit_first_audio(theirs, sentence("theirs", number)))
    await theirs.aclose()
    compare(floors, "LiveKit", times)
    fleet = FleetTTSService(model=f"openai/{MODEL}", voice=VOICE, client=client, cache=False)
    own = OpenAITTSService(
        api_key="x", base_url=server.base_url, settings=OpenAITTSService.Settings(voice=VOICE)
    )
    times = {"ours": [], "theirs": []}
    async with pipeline(fleet) as (ours_, sink), pipeline(own) as (theirs_, their_sink):
        for number in range(ROUNDS):
            name = sentence("the fleet", number)
            times["ours"].append(await pipecat_first_audio(ours_, sink, name))
            name = sentence("the others", number)
            times["theirs"].append(await pipecat_first_audio(theirs_, their_sink, name))
    compare(floors, "Pipecat", times)


def compare(floors: Floors, framework: str, times: dict[str, list[float]]) -> None:
    """Ours waits for the next word, which tells "No. 5" from the end of a sentence."""
    ours, theirs = median(times["ours"][3:]), median(times["theirs"][3:])
    waited = 1000 * WORD_S
    floors.tell(f"{framework}: first audio after the first sentence, p50", ours, "ms")
    floors.tell(f"{framework}: of it, the wait for the next word", waited, "ms")
    floors.tell(f"{framework}: the same by its OpenAI plugin, p50", theirs, "ms")
    floors.at_most(
        f"{framework}: later than the plugin, without that wait", ours - theirs - waited,
        LATER_MS, "ms",
    )  # fmt: skip


async def barge_in(client: AsyncClient, server: OpenAIServer, floors: Floors) -> None:
    voice = FleetTTS(f"openai/{MODEL}", voice=VOICE, client=client, cache=False)
    took = [
        await livekit_barge_in(voice, server, sentence("a long answer to LiveKit", number))
        for number in range(ROUNDS)
    ]
    floors.at_most("LiveKit: barge-in to the provider's socket, p99", percentiles(took)[1],
                   BARGE_IN_MS, "ms")  # fmt: skip
    service = FleetTTSService(model=f"openai/{MODEL}", voice=VOICE, client=client, cache=False)
    async with pipeline(service) as (worker, sink):
        took = [
            await pipecat_barge_in(worker, sink, server, sentence("one to Pipecat", number))
            for number in range(ROUNDS)
        ]
    floors.at_most("Pipecat: barge-in to the provider's socket, p99", percentiles(took)[1],
                   BARGE_IN_MS, "ms")  # fmt: skip


async def crowd(client: AsyncClient, floors: Floors) -> None:
    voice = FleetVoice(client, 24_000, model=f"openai/{MODEL}", voice=VOICE, cache=False)
    latencies: list[float] = []

    async def agent(name: str) -> None:
        async def texts() -> AsyncIterator[str]:
            # One sentence: those behind it would be spoken ahead, and wait for their turn.
            for word in f"This is the one long sentence that is said by {name}.".split():
                yield f"{word} "
                await asyncio.sleep(WORD_S)

        held = b""
        async with aclosing(voice.speak_live(texts(), id=name, timeout=30)) as parts:
            async for part in parts:
                now, held = time.time_ns(), held + part.audio
                while len(held) >= FRAME:
                    sent, held = int.from_bytes(held[:STAMP], "little"), held[FRAME:]
                    latencies.append((now - sent) / 1e6)

    await asyncio.gather(*(agent(f"agent {number}") for number in range(AGENTS)))
    p50, p99 = percentiles(latencies)
    floors.tell(f"{AGENTS} agents in one process, added latency p50", p50, "ms")
    floors.at_most(f"{AGENTS} agents in one process, added latency p99", p99, ADDED_MS, "ms")


@contextmanager
def fleet_of(environ: Mapping[str, str]) -> Iterator[EmbeddedFleet]:
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedFleet(Path(folder), environ=environ, lanes=["session"]) as fleet,
    ):
        yield fleet


async def measure() -> Floors:
    floors = Floors()
    for name in sys.argv[1:] or ["first", "barge-in", "crowd"]:
        if name == "crowd":
            # A sentence is whole frames: a hundred milliseconds a letter.
            with (
                stamping_server(milliseconds=100, pace=1.0) as environ,
                fleet_of(environ) as fleet,
            ):
                async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
                    await crowd(client, floors)
            continue
        server = OpenAIServer(milliseconds=30, pace=0.0 if name == "first" else 1.0)
        with server.thread(), fleet_of(server.environment()) as fleet:
            async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
                await (first_audio if name == "first" else barge_in)(client, server, floors)
    return floors


if __name__ == "__main__":
    logger.remove()
    logging.disable(logging.WARNING)
    sys.exit(main(measure()))
