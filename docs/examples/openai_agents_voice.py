"""A voice pipeline of the OpenAI Agents SDK that speaks through the fleet."""

import asyncio
import logging
from collections.abc import AsyncIterator

import numpy as np
from agents.voice import AudioInput, TTSModel, TTSModelSettings, VoicePipeline, VoicePipelineConfig
from agents.voice.testing import ScriptedSTTModel, ScriptedVoiceWorkflow

from speechfleet import AsyncClient, SpeechFleetError

log = logging.getLogger(__name__)

PIECE_BYTES = 40
"""The pipeline hands audio on after 120 pieces, however long: tiny ones are heard soonest."""


class FleetTTS(TTSModel):
    """Speaks each group of sentences as a job; groups come at once, and are heard in order."""

    def __init__(self, fleet: AsyncClient, model: str) -> None:
        self._fleet, self._model = fleet, model

    @property
    def model_name(self) -> str:
        return self._model

    async def run(self, text: str, settings: TTSModelSettings) -> AsyncIterator[bytes]:
        try:
            job = await self._fleet.submit(
                text, model=self._model, voice=str(settings.voice or "")
            )
            async for chunk in job.stream(linear=True, accumulate=False, sample_rate=24_000):
                for at in range(0, len(chunk.delta), PIECE_BYTES):
                    yield chunk.delta[at : at + PIECE_BYTES]
        except SpeechFleetError as error:  # the pipeline would drop the other groups, too
            log.warning("not spoken: %s", error)


async def main() -> None:
    """Let a script answer; a real pipeline has a workflow with an agent here."""
    async with AsyncClient.local() as fleet:
        pipeline = VoicePipeline(
            workflow=ScriptedVoiceWorkflow([("A fleet sails together. ", "So do its ships.")]),
            stt_model=ScriptedSTTModel(["What is a fleet?"]),
            tts_model=FleetTTS(fleet, "espeak/espeak-ng"),
            config=VoicePipelineConfig(tracing_disabled=True),
        )
        result = await pipeline.run(AudioInput(buffer=np.zeros(240, np.int16)))
        samples = 0
        async for event in result.stream():
            if event.type == "voice_stream_event_audio" and event.data is not None:
                samples += len(event.data)
    print(f"{samples / 24_000:.1f} s of speech")


asyncio.run(main())
