"""A Pipecat bot without a room: scripted replies, and a telephone that plays in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from tests.support.playback import Playback

Delta = str | float
"""A piece of text; a number is a pause in seconds."""
RATE = 24_000


class Telephone(BaseOutputTransport):
    """Plays what the bot says, in real time."""

    def __init__(self) -> None:
        params = TransportParams(
            audio_out_enabled=True, audio_out_sample_rate=RATE, audio_out_end_silence_secs=0
        )
        super().__init__(params)
        self.playback = Playback()
        self._played = asyncio.Event()

    async def until(self, seconds: float) -> None:
        """Wait until so much was heard."""
        async with asyncio.timeout(120):
            while len(self.playback.pcm) / 2 / RATE < seconds:
                self._played.clear()
                await self._played.wait()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.playback.play(frame.audio, len(frame.audio) / 2 / frame.sample_rate)
        await asyncio.sleep(self.playback.seconds_left)
        self._played.set()
        return True


class Witness(FrameProcessor):
    """Notes what passes: errors upwards, and when the bot begins and ends to speak."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[ErrorFrame] = []
        self.frames: list[Frame] = []
        self.started, self.stopped = asyncio.Event(), asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.errors.append(frame)
        if direction is FrameDirection.DOWNSTREAM:
            self.frames.append(frame)
        elif isinstance(frame, BotStartedSpeakingFrame):
            self.stopped.clear()
            self.started.set()
        elif isinstance(frame, BotStoppedSpeakingFrame):
            self.started.clear()
            self.stopped.set()
        await self.push_frame(frame, direction)


@dataclass
class Call:
    """A running bot, and what came of its speech."""

    worker: PipelineWorker
    phone: Telephone
    context: LLMContext
    witness: Witness
    committed: asyncio.Event
    """Set when a reply, or as much of it as was heard, has entered the context."""

    async def reply(self, deltas: Sequence[Delta]) -> None:
        """Write a reply, as a language model does."""
        self.committed.clear()
        await self.worker.queue_frame(LLMFullResponseStartFrame())
        for delta in deltas:
            if isinstance(delta, str):
                await self.worker.queue_frame(LLMTextFrame(delta))
            else:
                await asyncio.sleep(delta)
        await self.worker.queue_frame(LLMFullResponseEndFrame())

    async def spoken(self, within: float = 180.0) -> None:
        """Wait until the bot has said all."""
        async with asyncio.timeout(within):
            await self.witness.stopped.wait()
            await self.committed.wait()

    async def interrupt(self) -> None:
        """Barge in, and wait until the context knows how much was heard."""
        self.committed.clear()
        await self.worker.queue_frame(InterruptionFrame())
        async with asyncio.timeout(120):
            await self.committed.wait()

    @property
    def errors(self) -> list[ErrorFrame]:
        return self.witness.errors

    @property
    def history(self) -> list[str]:
        """What the bot believes it said."""
        return [
            str(message["content"])
            for message in self.context.get_messages()
            if isinstance(message, dict) and message["role"] == "assistant"
        ]


@asynccontextmanager
async def calling(
    *services: FrameProcessor, patient: bool = True, **params: Any
) -> AsyncIterator[Call]:
    """A bot that speaks by these processors; ``patient``: it may say all before it leaves."""
    context = LLMContext()
    pair = LLMContextAggregatorPair(context)
    witness, phone = Witness(), Telephone()
    pipeline = Pipeline([pair.user(), witness, *services, phone, pair.assistant()])
    worker = PipelineWorker(
        pipeline,
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=PipelineParams(audio_out_sample_rate=RATE, **params),
    )
    started = asyncio.Event()

    async def on_started(*_: object) -> None:
        started.set()

    committed = asyncio.Event()

    async def on_committed(*_: object) -> None:
        committed.set()

    worker.add_event_handler("on_pipeline_started", on_started)
    pair.assistant().add_event_handler("on_assistant_turn_stopped", on_committed)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(120):
            await started.wait()
        yield Call(worker, phone, context, witness, committed)
        await (worker.queue_frame(EndFrame()) if patient else worker.cancel())
        async with asyncio.timeout(120):
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
