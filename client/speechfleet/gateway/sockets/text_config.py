"""The configuration of a socket for text, and the session that it asks for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationError, model_validator

from speechfleet.audio.formats import AudioFormatName
from speechfleet.errors import InvalidRequest
from speechfleet.gateway.error_responses import describe_problem
from speechfleet.gateway.offered_models import ModelInfo
from speechfleet.gateway.sockets.admission import SocketContext
from speechfleet.gateway.speech_order import openai_options, resolve_model
from speechfleet.gateway.voice_aliases import resolve_voice
from speechfleet.session import AsyncSession
from speechfleet.strict_model import StrictModel

IGNORED = ("type", "task_type", "max_new_tokens", "initial_codec_chunk_frames", "seed",
           "non_streaming_mode")  # fmt: skip
"""Fields of vLLM-Omni that are left out on models that have no option of that name."""
MESSAGE_CHARACTERS = 500


class TextConfig(StrictModel):
    """The order of a client, before its text; further fields are options of the provider."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    model: str | None = None
    voice: str | None = None
    speaker: str | None = Field(None, description="another name of voice")
    language: str | None = None
    instructions: str | None = None
    response_format: AudioFormatName = "wav"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_audio: bool = False
    word_timestamps: bool = False
    split_granularity: Literal["none", "sentence", "clause"] = "none"
    sample_rate: int | None = None
    resumable: bool = False

    @model_validator(mode="after")
    def _fits(self) -> TextConfig:
        if self.word_timestamps and not self.is_pcm_stream:
            raise ValueError("word_timestamps needs stream_audio=true and response_format='pcm'")
        if self.resumable and not self.is_pcm_stream:
            raise ValueError("resumable needs stream_audio=true and response_format='pcm'")
        return self

    @property
    def is_pcm_stream(self) -> bool:
        """Tell whether audio is sent as it comes; else a file for each sentence."""
        return self.stream_audio and self.response_format == "pcm"

    @property
    def by_sentence(self) -> bool:
        """Tell whether each sentence begins and ends by messages of its own."""
        return self.split_granularity != "none"

    @classmethod
    def read(cls, message: dict[str, Any]) -> TextConfig:
        """Read a message. Raises InvalidRequest."""
        try:
            return cls.model_validate({k: v for k, v in message.items() if k != "type"})
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            _, text = describe_problem(problem["loc"], problem)
            raise InvalidRequest(text[:MESSAGE_CHARACTERS]) from None

    async def session(self, context: SocketContext, id: str | None = None) -> AsyncSession:
        """Make a session; ``id``: go on with this one. Raises InvalidRequest, FleetUnavailable."""
        settings = context.settings
        name = resolve_model(self.model or settings.default_model, settings.gateway_aliases)
        model = (await context.models()).describe(name)
        return context.client.session(
            model=name,
            voice=resolve_voice(self.voice or self.speaker or "", model, settings.gateway_voices),
            id=id,
            resume=id is not None,
            linear=True,
            sample_rate=self.sample_rate,
            language=self.language or "",
            options=self._options(model, settings.gateway_ignored),
        )

    def _options(self, model: ModelInfo, ignored: tuple[str, ...]) -> dict[str, Any]:
        return openai_options(
            self.__pydantic_extra__ or {},
            model,
            instructions=self.instructions,
            speed=self.speed,
            ignored=(*ignored, *IGNORED),
        )
