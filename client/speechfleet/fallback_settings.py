"""The settings of fallback voices and circuit breakers: a part of `Settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from speechfleet.errors import InvalidRequest
from speechfleet.fallback import FallbackVoice, read_fallback
from speechfleet.strict_model import StrictModel


class FallbackSettings(StrictModel, BaseSettings):
    """The settings that say who speaks where a provider cannot, as a part of `Settings`."""

    fallback: dict[str, tuple[FallbackVoice, ...]] = Field(
        default_factory=dict,
        description="JSON: provider or provider/model -> list of provider/model[:voice], which "
        "speak the rest of a job where the provider cannot; read by workers",
    )
    fallback_patience: float = Field(
        5.0,
        ge=0,
        description="seconds of a rate limit that a job with a fallback voice waits out",
    )
    breaker_failures: int = Field(
        5, ge=1, description="failures in a row that open the circuit breaker of a provider"
    )
    breaker_pause: float = Field(
        10.0, gt=0, description="seconds until an open breaker lets a probe through; doubles"
    )

    @field_validator("fallback", mode="before")
    @classmethod
    def _fallback_voices(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        try:
            return {name: read_fallback(source) for name, source in value.items()}
        except InvalidRequest as error:
            raise ValueError(error.message) from None

    def fallback_of(self, model: str) -> tuple[FallbackVoice, ...]:
        """Return the fallback voices of a model, else those of its provider, else none."""
        if not self.fallback:
            return ()
        voices = self.fallback.get(model) or self.fallback.get(model.partition("/")[0]) or ()
        return tuple(voice for voice in voices if voice.model != model)
