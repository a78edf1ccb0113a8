"""A voice pipeline of the OpenAI Agents SDK that speaks through the fleet."""

import asyncio

import numpy as np
from agents.voice import AudioInput, VoicePipeline, VoicePipelineConfig, VoiceStreamEventAudio
from agents.voice.testing import ScriptedSTTModel, ScriptedVoiceWorkflow

from speechfleet import AsyncClient
from speechfleet.integrations.openai_agents import FleetTTS

answer = ScriptedVoiceWorkflow([("A fleet sails together. ", "So do its ships.")])  # your agent
question, quiet = ScriptedSTTModel("What is a fleet?"), VoicePipelineConfig(tracing_disabled=True)


async def main() -> None:
    async with AsyncClient.local() as fleet:
        voice = FleetTTS("espeak/espeak-ng", client=fleet)
        pipeline = VoicePipeline(
            workflow=answer, stt_model=question, tts_model=voice, config=quiet
        )
        result = await pipeline.run(AudioInput(np.zeros(240, np.int16)))
        events = [event async for event in result.stream()]
    audio = [event.data for event in events if isinstance(event, VoiceStreamEventAudio)]
    print(f"{sum(len(data) for data in audio if data is not None) / 24_000:.1f} s of speech")


asyncio.run(main())
