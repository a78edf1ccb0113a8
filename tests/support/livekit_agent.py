"""A LiveKit agent without a room: its language model is a script, its listener a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, tts
from livekit.agents.llm import LLM, ChatChunk, ChoiceDelta, LLMStream
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities, TextOutput
from livekit.agents.voice.transcription.synchronizer import TranscriptSynchronizer

from tests.support.playback import Playback

Delta = str | float
"""A piece of text; a number is a pause in seconds."""


class Script(LLM[str]):
    """Answers everything with these deltas."""

    def __init__(self, deltas: Sequence[Delta]) -> None:
        super().__init__()
        self.deltas = deltas

    def chat(self, *, chat_ctx: Any, tools: Any = None, **_: Any) -> LLMStream:
        options = DEFAULT_API_CONNECT_OPTIONS
        return _Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=options)


class _Answer(LLMStream):
    async def _run(self) -> None:
        assert isinstance(self._llm, Script)
        for delta in self._llm.deltas:
            if isinstance(delta, str):
                choice = ChoiceDelta(role="assistant", content=delta)
                self._event_ch.send_nowait(ChatChunk(id="answer", delta=choice))
            else:
                await asyncio.sleep(delta)


class Ear(AudioOutput):
    """Hears what the agent says, in real time."""

    def __init__(self) -> None:
        super().__init__(label="ear", capabilities=AudioOutputCapabilities(pause=False))
        self.playback = Playback()
        self.speaking = asyncio.Event()
        self.has_all = asyncio.Event()
        """All audio of an answer came; most of it is still to be heard."""
        self._captured = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self.playback.play(frame.data.tobytes(), frame.duration)
        if not self._captured:
            self.on_playback_started(created_at=time.time())
            self.speaking.set()
        self._captured += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._captured:
            self.has_all.set()
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(self.playback.seconds_left, self._finish)

    def clear_buffer(self) -> None:
        if self._end is not None:
            self._end.cancel()
        if self._captured:
            self._finish(interrupted=True)

    def _finish(self, *, interrupted: bool = False) -> None:
        played = self._captured - self.playback.seconds_left
        self._captured, self._end = 0.0, None
        self.playback.end()
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


class Eye(TextOutput):
    """Reads the transcript."""

    def __init__(self) -> None:
        super().__init__(label="eye", next_in_chain=None)
        self.text = ""
        self._written = asyncio.Event()

    async def reads(self) -> None:
        """Wait for the next word that is heard."""
        self._written.clear()
        await self._written.wait()

    async def capture_text(self, text: str) -> None:
        self.text += text
        self._written.set()

    def flush(self) -> None:
        pass


@dataclass
class Scene:
    """A running agent, and what came of its speech. ``errors``, ``metrics``: of the TTS."""

    session: AgentSession[None]
    ear: Ear
    eye: Eye
    errors: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)

    async def answer(self, within: float = 180.0) -> bytes:
        """Let the agent answer, and return the audio heard from first to last."""
        before = len(self.ear.playback.pcm)
        async with asyncio.timeout(within):
            await self.session.generate_reply(user_input="Hello?").wait_for_playout()
        return bytes(self.ear.playback.pcm[before:])

    @property
    def history(self) -> list[str]:
        """What the agent believes it said."""
        return [
            item.text_content or ""
            for item in self.session.history.items
            if item.type == "message" and item.role == "assistant"
        ]


@asynccontextmanager
async def talking(
    voice: tts.TTS[Any], deltas: Sequence[Delta], *, aligned: bool = False
) -> AsyncIterator[Scene]:
    """An agent that answers with these deltas in this voice. ``aligned``: by its words' times."""
    ear, eye = Ear(), Eye()
    session: AgentSession[None] = AgentSession(
        llm=Script(deltas), tts=voice, use_tts_aligned_transcript=aligned
    )
    scene = Scene(session, ear, eye)
    voice.on("error", scene.errors.append)
    voice.on("metrics_collected", scene.metrics.append)
    synchronizer = TranscriptSynchronizer(next_in_chain_audio=ear, next_in_chain_text=eye)
    session.output.audio = synchronizer.audio_output
    session.output.transcription = synchronizer.text_output
    await session.start(Agent(instructions=""))
    try:
        yield scene
    finally:
        await session.aclose()
        await synchronizer.aclose()
        voice.off("error", scene.errors.append)
        voice.off("metrics_collected", scene.metrics.append)


@dataclass
class Stream:
    """What one stream gave. ``events``: LiveKit's; ``error``: what ended it."""

    events: list[tts.SynthesizedAudio] = field(default_factory=list)
    error: Exception | None = None

    @property
    def pcm(self) -> bytes:
        return b"".join(event.frame.data.tobytes() for event in self.events)


async def written(
    voice: tts.TTS[Any], deltas: Sequence[Delta], *, options: APIConnectOptions | None = None
) -> Stream:
    """The stream of a text that comes in pieces."""
    stream = voice.stream(conn_options=options or DEFAULT_API_CONNECT_OPTIONS)

    async def write() -> None:
        for delta in deltas:
            if isinstance(delta, str):
                stream.push_text(delta)
            await asyncio.sleep(0 if isinstance(delta, str) else delta)
        stream.end_input()

    async with stream:
        writing = asyncio.create_task(write())
        heard = await _heard(stream)
        await writing
    return heard


async def whole(
    voice: tts.TTS[Any], text: str, *, options: APIConnectOptions | None = None
) -> Stream:
    """The stream of a whole text."""
    async with voice.synthesize(
        text, conn_options=options or DEFAULT_API_CONNECT_OPTIONS
    ) as stream:
        return await _heard(stream)


async def _heard(stream: tts.SynthesizeStream | tts.ChunkedStream) -> Stream:
    heard = Stream()
    try:
        async for event in stream:
            heard.events.append(event)
    except Exception as error:  # noqa: BLE001 # any that a framework's plugin raises
        heard.error = error
    return heard
