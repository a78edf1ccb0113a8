"""Names of OpenAI's voices on the models of other providers.

Many clients know OpenAI's voices and no others. On a model without them these names stand for
voices that it has: by the setting SPEECHFLEET_GATEWAY_VOICES, else by the table below, else for
the model's default voice. A voice that a model has is never replaced, except by a setting for
this very model.
"""

from __future__ import annotations

from collections.abc import Mapping

from speechfleet.gateway.offered_models import ModelInfo

HIGH = ("alloy", "coral", "marin", "nova", "sage", "shimmer")
LOW = ("ash", "ballad", "cedar", "echo", "fable", "onyx", "verse")
OPENAI_VOICES = frozenset(HIGH + LOW)

SIMILAR: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "espeak": (
        ("en-us", "en-us+f2", "en-us+f3", "en-us+f4", "en-us+f1", "en-us+f5"),
        ("en-us+m3", "en-us+m1", "en-us+m2", "en-us+m4", "en-gb", "en-us+m7", "en-gb+m3"),
    ),
    "dashscope": (
        ("Cherry", "Serena", "Chelsie", "Jennifer", "Katerina", "Vivian"),
        ("Ethan", "Ryan", "Aiden", "Elias", "Arthur", "Neil", "Vincent"),
    ),
    "gemini": (
        ("Kore", "Aoede", "Leda", "Zephyr", "Autonoe", "Callirrhoe"),
        ("Puck", "Charon", "Iapetus", "Orus", "Fenrir", "Algieba", "Umbriel"),
    ),
}
"""Provider -> voices in the order of `HIGH`, and of `LOW`."""

VoiceSetting = Mapping[str, str | Mapping[str, str]]
"""Alias -> voice, for every model; or model or provider -> (alias -> voice)."""


def resolve_voice(voice: str, model: ModelInfo, setting: VoiceSetting) -> str:
    """Return the voice that a name stands for on this model; unknown names as they are."""
    if chosen := _setting_of(voice, model, setting):
        return chosen
    if not voice or model.has_voice(voice):
        return voice
    general = setting.get(voice)
    if isinstance(general, str) and model.has_voice(general):
        return general
    if voice not in OPENAI_VOICES:
        return voice
    similar = _similar(voice, model.provider)
    return similar if similar and model.has_voice(similar) else model.default_voice


def _setting_of(voice: str, model: ModelInfo, setting: VoiceSetting) -> str:
    for name in (model.name, model.provider):
        voices = setting.get(name)
        if isinstance(voices, Mapping) and voice in voices:
            return voices[voice]
    return ""


def _similar(voice: str, provider: str) -> str:
    if provider not in SIMILAR:
        return ""
    high, low = SIMILAR[provider]
    return high[HIGH.index(voice)] if voice in HIGH else low[LOW.index(voice)]
