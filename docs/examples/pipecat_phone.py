"""A telephone bot with Pipecat, without a line: it answers what the caller asks.

    python pipecat_phone.py "When do you open?"

What the caller hears goes to answer.wav. A script answers; with OPENAI_API_KEY a language model.
"""

import asyncio
import os
import sys
import wave

from pipecat.frames.frames import (
    EndFrame,
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from speechfleet import AsyncClient
from speechfleet.integrations.pipecat import FleetTTSService

RATE = 8000  # of a telephone


class Script(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        for word in "We open at nine. And we close at five, on weekdays.".split():
            await self.push_frame(LLMTextFrame(f"{word} "))
        await self.push_frame(LLMFullResponseEndFrame())


class Handset(FrameProcessor):
    def __init__(self, file: wave.Wave_write) -> None:
        super().__init__()
        self.file = file
        self.seconds = 0.0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.file.writeframes(frame.audio)
            self.seconds += len(frame.audio) / 2 / RATE
        await self.push_frame(frame, direction)


def language_model() -> FrameProcessor:
    if "OPENAI_API_KEY" not in os.environ:
        return Script()
    from pipecat.services.openai.llm import OpenAILLMService  # noqa: PLC0415

    return OpenAILLMService(settings=OpenAILLMService.Settings(model="gpt-4o-mini"))


async def answer(question: str, fleet: AsyncClient, handset: Handset) -> None:
    context = LLMContext([{"role": "user", "content": question}])
    pair = LLMContextAggregatorPair(context)
    voice = FleetTTSService(client=fleet)
    worker = PipelineWorker(
        Pipeline([pair.user(), language_model(), voice, handset, pair.assistant()]),
        params=PipelineParams(audio_out_sample_rate=RATE),
    )
    await worker.queue_frames([LLMContextFrame(context), EndFrame()])
    runner = WorkerRunner()
    await runner.add_workers(worker)
    await runner.run()


async def main(question: str) -> None:
    with wave.open("answer.wav", "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        handset = Handset(file)
        async with AsyncClient.local() as fleet:  # brings one up, or joins the one that runs
            await answer(question, fleet, handset)
    print(f"answer.wav: {handset.seconds:.1f} s")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "When do you open?"))
