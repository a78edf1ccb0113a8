"""The built-in providers and the options that their models take, by name.

The adapters of the worker define the options; tests hold these lists to them. With them, a
misspelt option is refused before it is sent, and other columns of a corpus are told apart.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from functools import lru_cache

from speechfleet.settings import Settings

BUILT_IN_PROVIDERS = (
    "dashscope",
    "elevenlabs",
    "espeak",
    "gemini",
    "hibari",
    "local",
    "openai",
    "polly",
)
ON_THE_WORKER = ("espeak", "hibari", "local")
"""Those that run on the worker itself, without an account that could be limited."""
NEAR_MISS = 0.75
"""Similarity (0 to 1) above which an unknown name is taken for a misspelt one."""

_OPENAI = frozenset(
    {"speed", "instructions", "response_format", "stream_format", "sample_rate", "extra_body"}
)
_DASHSCOPE = frozenset({
    "language_type", "instructions", "optimize_instructions", "temperature", "top_p", "top_k",
    "seed", "repetition_penalty", "presence_penalty", "max_tokens", "workspace",
})  # fmt: skip
_DASHSCOPE_REALTIME = frozenset({
    "mode", "language_type", "instructions", "optimize_instructions", "volume", "speech_rate",
    "pitch_rate", "enable_tn", "sample_rate", "speed", "workspace",
})  # fmt: skip
_OPENAI_REALTIME = frozenset({"speed", "instructions"})
_DASHSCOPE_TASK = frozenset({
    "volume", "rate", "speed", "pitch", "seed", "instructions", "language_hints", "enable_ssml",
    "word_timestamps", "sample_rate", "workspace",
})  # fmt: skip
_ELEVENLABS = frozenset({
    "stability", "similarity_boost", "style", "use_speaker_boost", "speed", "seed",
    "language_code", "apply_text_normalization",
})  # fmt: skip
OPTIONS = {
    "espeak": frozenset({"rate", "speed", "pitch", "volume", "gap"}),
    "hibari": frozenset({"speed"}),
    "local": frozenset({"speed"}),
    "openai": _OPENAI,
    "openai-realtime": _OPENAI_REALTIME,
    "gemini": frozenset({"instructions", "language_code", "speakers", "temperature", "seed"}),
    "elevenlabs": _ELEVENLABS,
    "polly": frozenset({"language_code", "lexicons", "sample_rate", "word_marks"}),
    "dashscope": _DASHSCOPE,
    "dashscope-realtime": _DASHSCOPE_REALTIME,
    "dashscope-task": _DASHSCOPE_TASK,
}
"""By adapter."""
OF_EVERY_MODEL = frozenset({"speed"})
"""Options that the fleet carries out where a provider does not."""
VARIANTS = {
    ("openai", "gpt-realtime*"): "openai-realtime",
    ("dashscope", "*-realtime*"): "dashscope-realtime",
    ("dashscope", "cosyvoice-*"): "dashscope-task",
    ("dashscope", "qwen-audio-*"): "dashscope-task",
}
"""Provider and pattern of a model's name -> the adapter of such models."""


def adapter_of(model: str, settings: Settings | None = None) -> str | None:
    """Return the name of the built-in adapter that speaks a model; None for one's own."""
    provider, _, name = model.partition("/")
    if settings is not None and provider in settings.providers:
        return None
    if settings is not None and (endpoint := settings.endpoints.get(provider)):
        provider = endpoint.adapter
    return _built_in(provider, name)


@lru_cache(maxsize=1024)  # asked for every item of a corpus
def _built_in(provider: str, name: str) -> str | None:
    for (of, pattern), adapter in VARIANTS.items():
        if provider == of and fnmatchcase(name, pattern):
            return adapter
    return provider if provider in BUILT_IN_PROVIDERS else None


def options_of(model: str, settings: Settings | None = None) -> frozenset[str] | None:
    """Return the options that a model takes; None where only a worker knows them."""
    adapter = adapter_of(model, settings)
    own = None if adapter is None else OPTIONS.get(adapter)
    return None if own is None else own | OF_EVERY_MODEL


def near_option(name: str, options: frozenset[str]) -> str:
    """Return the option that a name may be a misspelling of; "" for none."""
    return next(iter(difflib.get_close_matches(name, options, 1, NEAR_MISS)), "")
