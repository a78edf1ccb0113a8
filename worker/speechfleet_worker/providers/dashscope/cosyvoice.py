"""Alibaba DashScope by its task protocol: CosyVoice and Qwen-Audio-TTS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

from pydantic import Field

from speechfleet.provider_billing import han_twice
from speechfleet.settings import Timeouts
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
)
from speechfleet_worker.providers.dashscope.connection import Finished, Mode
from speechfleet_worker.providers.dashscope.realtime import DashScopeRealtimeTTSModel
from speechfleet_worker.providers.dashscope.task import SpeechTask
from speechfleet_worker.providers.dashscope.task_socket import TaskSocket
from speechfleet_worker.providers.dashscope.transport import required_key

DEFAULT_VOICES = {
    "qwen-audio-3.1-tts-flash": "longanfengyue_v3.1",
    "qwen-audio-3.0-tts-flash": "longanfengyue",
    "qwen-audio": "longanlingxin",
    "cosyvoice-v2": "longxiaochun_v2",
    "cosyvoice": "longanyang",
}
"""By the beginning of the model's name, the longest first. A voice belongs to one model."""


class DashScopeTaskOptions(ProviderOptions):
    """Parameters of ``run-task`` besides the voice; what is None is not sent."""

    volume: int | None = Field(None, ge=0, le=100)
    rate: float | None = Field(None, ge=0.5, le=2.0)
    speed: float | None = Field(None, ge=0.5, le=2.0, description="the same as rate")
    pitch: float | None = Field(None, ge=0.5, le=2.0)
    seed: int | None = Field(None, ge=0, le=65_535)
    instructions: str | None = Field(None, description="how to speak, where the model takes it")
    language_hints: tuple[str, ...] | None = Field(None, description="such as zh, en")
    enable_ssml: bool | None = None
    word_timestamps: bool | None = Field(None, description="where the voice tells them")
    sample_rate: Literal[8000, 16000, 22050, 24000, 44100, 48000] = 24_000
    workspace: str | None = None

    def parameters(self, voice: str) -> dict[str, Any]:
        """Return the parameters of ``run-task`` under the protocol's names."""
        given = {
            "volume": self.volume,
            "rate": self.rate if self.rate is not None else self.speed,
            "pitch": self.pitch,
            "seed": self.seed,
            "instruction": self.instructions,
            "language_hints": self.language_hints and list(self.language_hints),
            "enable_ssml": self.enable_ssml,
            "word_timestamp_enabled": self.word_timestamps,
        }
        fixed = {"voice": voice, "text_type": "PlainText", "format": "pcm"}
        set_ones = {name: value for name, value in given.items() if value is not None}
        return {**fixed, "sample_rate": self.sample_rate, **set_ones}


class DashScopeCosyVoiceTTSModel(ProviderModel):
    """CosyVoice (v2, v3, v3.5) and Qwen-Audio-TTS 3.x: one task for each text.

    A connection of its own for each call; `conversation` speaks its texts one after another over
    one. Without ``api_key`` and ``base_url``: DASHSCOPE_API_KEY, DASHSCOPE_WEBSOCKET_BASE_URL.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        input_limit=2000,
        unit="characters",
        count=han_twice,
        sample_rate=24_000,
        default_voice="longanyang",
        languages=("zh", "en"),
        metered=True,
    )
    Options: ClassVar[type[ProviderOptions]] = DashScopeTaskOptions

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "cosyvoice-v3-flash",
        voice: str = "",
        stream: bool = True,
        client_kwargs: Mapping[str, Any] | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        *,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        options: DashScopeTaskOptions | None = None,
    ) -> None:
        super().__init__(model_name, stream, voice, timeouts, options)
        self._api_key = required_key(api_key)
        self._client_kwargs = {"url": base_url, **(client_kwargs or {})}
        self._generate_kwargs = dict(generate_kwargs or {})

    @classmethod
    def describe(cls, model_name: str) -> Capabilities:
        return replace(cls.capabilities, default_voice=_default_voice(model_name))

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        socket = await self.open_socket()
        try:
            async for part in self.speak_over(socket, text):
                yield part
        finally:
            await socket.close()

    async def speak_over(
        self, socket: TaskSocket, text: str
    ) -> AsyncGenerator[Audio | Report, None]:
        """Speak a text as one task over an open connection that has no task now."""
        options = cast("DashScopeTaskOptions", self.options)
        parameters = options.parameters(self.voice) | self._generate_kwargs
        task = await SpeechTask.start(socket, self.model_name, parameters, self.timeouts)
        await task.append(text)
        await task.finish()
        async for part in task:
            if isinstance(part, Finished):
                yield Report(usage=part.usage, request_id=part.session_id)
            else:
                yield part

    async def open_socket(self) -> TaskSocket:
        options = cast("DashScopeTaskOptions", self.options)
        return await TaskSocket.open(
            api_key=self._api_key,
            connect=self.timeouts.connect,
            **{"workspace": options.workspace, **self._client_kwargs},
        )

    @asynccontextmanager
    async def conversation(self) -> AsyncGenerator[ProviderModel, None]:
        """Texts over one connection, which a task that ended well leaves open for the next."""
        model = _Conversation(self)
        try:
            yield model
        finally:
            await model.close()


class _Conversation(ProviderModel):
    """Speaks texts in the order in which they are given, a task each, over one connection."""

    def __init__(self, model: DashScopeCosyVoiceTTSModel) -> None:
        super().__init__(model.model_name, True, model.voice, model.timeouts, model.options)
        self._model = model
        self._socket: TaskSocket | None = None
        self._turn = asyncio.Lock()

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        async with self._turn:
            # Taken out while it is in use: whatever ends this early closes it.
            socket, self._socket = self._socket or await self._model.open_socket(), None
            try:
                async for part in self._model.speak_over(socket, text):
                    yield part
                self._socket = socket
            finally:
                if self._socket is None:
                    await socket.close()

    async def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()


class DashScopeCosyVoiceRealtimeTTSModel(DashScopeRealtimeTTSModel):
    """The same models for a text that is still being written, with AgentScope's semantics.

    See `DashScopeRealtimeTTSModel`. Text goes out as it is pushed, in a task a message;
    ``push(msg, commit=True)`` has the text so far spoken. Pauses of more than some 23 s between
    pushes end the task on DashScope's side.
    """

    capabilities: ClassVar[Capabilities] = replace(
        DashScopeCosyVoiceTTSModel.capabilities, streaming_input=True
    )

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "cosyvoice-v3-flash",
        voice: str = "",
        stream: bool = True,
        cold_start_length: int | None = None,
        cold_start_words: int | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        *,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        task_options: DashScopeTaskOptions | None = None,
    ) -> None:
        super().__init__(
            api_key,
            model_name,
            voice or _default_voice(model_name),
            stream,
            cold_start_length,
            cold_start_words,
            client_kwargs,
            generate_kwargs,
            base_url=base_url,
            timeouts=timeouts,
        )
        self._task_options = task_options or DashScopeTaskOptions()

    async def open_connection(self, mode: Mode | None = None) -> SpeechTask:  # type: ignore[override]
        """Open a connection and start its task."""
        socket = await TaskSocket.open(
            api_key=self._api_key,
            connect=self.timeouts.connect,
            **{"workspace": self._task_options.workspace, **self._client_kwargs},
        )
        parameters = self._task_options.parameters(self.voice) | self._generate_kwargs
        return await SpeechTask.start(socket, self.model_name, parameters, self.timeouts)


def _default_voice(model_name: str) -> str:
    beginnings = (each for each in DEFAULT_VOICES if model_name.startswith(each))
    return DEFAULT_VOICES[max(beginnings, key=len, default="cosyvoice")]
