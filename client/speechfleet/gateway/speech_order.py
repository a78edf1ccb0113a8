"""The orders of both routes (``/v1/audio/speech``, ``/jobs``) as keywords of the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from speechfleet import fallback
from speechfleet.audio.formats import AudioFormatName
from speechfleet.errors import TextTooLong, UnknownOption
from speechfleet.gateway.offered_models import ModelInfo
from speechfleet.gateway.voice_aliases import resolve_voice
from speechfleet.keywords import REQUEST_KEYWORDS, RequestKeywords
from speechfleet.settings import DEFAULT_MODEL, Settings
from speechfleet.strict_model import StrictModel
from speechfleet.tts import Msg


class FallbackOrder(StrictModel):
    """A fallback voice: `voices` maps voices of the first choice to those of this model."""

    model_config = ConfigDict(extra="forbid")

    model: str
    voice: str = ""
    voices: dict[str, str] = Field(default_factory=dict)
    options: dict[str, JsonValue] = Field(default_factory=dict)


Role = Literal["user", "assistant", "system"]
ALIASES = {"local": DEFAULT_MODEL}
"""Bare names that need no setting: the voices of the workers' machines."""
_RESERVED = {*REQUEST_KEYWORDS, "self", "msg"}


def fallback_of(
    ordered: list[str | FallbackOrder] | None,
) -> list[str | fallback.FallbackOrder] | None:
    """Return fallback voices as the client takes them."""
    if ordered is None:
        return None
    return [
        each if isinstance(each, str) else
        {"model": each.model, "voice": each.voice, "voices": each.voices, "options": each.options}
        for each in ordered
    ]  # fmt: skip


def message(text: str, id: str | None, *, name: str = "", role: Role = "assistant") -> Msg:
    """Make the message, under a new id where none is given."""
    return Msg(name, text, role) if id is None else Msg(name, text, role, id=id)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provider's own options. Raises UnknownOption for names with another meaning."""
    for name in options:
        if name in _RESERVED:
            raise UnknownOption(name, note="(it is not the provider's)")
    return dict(options)


def openai_options(
    extra: Mapping[str, Any],
    model: ModelInfo,
    *,
    instructions: str | None,
    speed: float,
    ignored: tuple[str, ...],
) -> dict[str, Any]:
    """Return the provider's options of a request in OpenAI's form. Raises UnknownOption.

    ``extra``: fields that are not OpenAI's. Fields that do not change what is spoken
    (``ignored``) are left out, unless the model has an option of that name. ``instructions``
    are left out where a model has none, as OpenAI's tts-1 does. A speed of 1 is always fine.
    """
    known = model.options
    options = checked_options(
        {
            name: value
            for name, value in extra.items()
            if name not in ignored or (known is not None and name in known)
        }
    )
    if instructions and (known is None or "instructions" in known):
        options["instructions"] = instructions
    if speed != 1.0:
        options["speed"] = speed
    return options


def resolve_model(model: str, aliases: Mapping[str, str]) -> str:
    """Return the full name of a model: a bare name is an alias, else OpenAI's."""
    if alias := aliases.get(model, ALIASES.get(model)):
        return alias
    return model if "/" in model else f"openai/{model}"


def check_text(text: str, settings: Settings) -> None:
    """Raise TextTooLong where the text is above the gateway's limit."""
    if len(text) > settings.gateway_text:
        raise TextTooLong(
            f"the text has {len(text):,} characters, this gateway takes "
            f"{settings.gateway_text:,} (SPEECHFLEET_GATEWAY_TEXT)"
        )


class VoiceId(StrictModel):
    """A voice as an object, which OpenAI has for custom voices."""

    id: str


class SpeechOrder(StrictModel):
    """OpenAI's fields; whatever else there is, is the provider's own option of that name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    model: str = Field(description="provider/model, an alias, or the bare name of OpenAI's")
    input: str
    voice: str | VoiceId | None = None
    instructions: str | None = None
    response_format: AudioFormatName | None = Field(None, description="mp3 where it is not given")
    speed: float | None = Field(None, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] | None = None
    language: str | None = Field(None, description="of the text, such as de; not OpenAI's")

    fallback: list[str | FallbackOrder] | None = Field(
        None, description="who speaks the rest where the provider cannot; not OpenAI's"
    )

    @property
    def format(self) -> AudioFormatName:
        return self.response_format or "mp3"

    @property
    def voice_name(self) -> str:
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice or ""

    def keywords(self, model: ModelInfo, settings: Settings) -> RequestKeywords:
        """Return the keywords of `AsyncClient.submit`. Raises UnknownOption."""
        options = openai_options(
            self.__pydantic_extra__ or {},
            model,
            instructions=self.instructions,
            speed=self.speed or 1.0,
            ignored=settings.gateway_ignored,
        )
        return {
            "model": model.name,
            "voice": resolve_voice(self.voice_name, model, settings.gateway_voices),
            "format": self.format,
            "lane": "live",
            "language": self.language or "",
            "fallback": fallback_of(self.fallback),
            "options": options,
        }
