"""A telephone agent with LiveKit Agents, without a room: it answers what the caller asks.

    python livekit_phone.py "When do you open?"

What the caller hears goes to answer.wav. A script answers; with OPENAI_API_KEY a language model.
"""

import asyncio
import os
import sys
import wave
from typing import Any

from livekit import rtc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, Agent, AgentSession
from livekit.agents.llm import LLM, ChatChunk, ChoiceDelta, LLMStream
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities

from speechfleet import AsyncClient
from speechfleet.integrations.livekit import FleetTTS

RATE = 8000  # of a telephone


class Script(LLM[str]):
    def chat(self, *, chat_ctx: Any, tools: Any = None, **_: Any) -> LLMStream:
        options = DEFAULT_API_CONNECT_OPTIONS
        return Lines(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=options)


class Lines(LLMStream):
    async def _run(self) -> None:
        for word in "We open at nine. And we close at five, on weekdays.".split():
            delta = ChoiceDelta(role="assistant", content=f"{word} ")
            self._event_ch.send_nowait(ChatChunk(id="answer", delta=delta))


class Handset(AudioOutput):
    def __init__(self, file: wave.Wave_write) -> None:
        super().__init__(label="handset", capabilities=AudioOutputCapabilities(pause=False))
        self.file = file
        self.seconds = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self.file.writeframes(frame.data.tobytes())
        self.seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        self.on_playback_finished(playback_position=self.seconds, interrupted=False)

    def clear_buffer(self) -> None:
        self.on_playback_finished(playback_position=0.0, interrupted=True)


def language_model() -> LLM[Any]:
    if "OPENAI_API_KEY" not in os.environ:
        return Script()
    from livekit.plugins import openai  # noqa: PLC0415

    return openai.LLM(model="gpt-4o-mini")


async def answer(question: str, fleet: AsyncClient, handset: Handset) -> None:
    voice = FleetTTS(sample_rate=RATE, client=fleet)
    session: AgentSession[None] = AgentSession(llm=language_model(), tts=voice)
    session.output.audio = handset
    await session.start(Agent(instructions="You answer calls of a shop, in two sentences."))
    await session.generate_reply(user_input=question).wait_for_playout()
    await session.aclose()


async def main(question: str) -> None:
    with wave.open("answer.wav", "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        handset = Handset(file)
        async with AsyncClient.local() as fleet:  # brings one up, or joins the one that runs
            await answer(question, fleet, handset)
    print(f"answer.wav: {handset.seconds:.1f} s")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "When do you open?"))
