"""The built-in providers, as data: where their adapters are, and what those need to run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class BuiltIn:
    """One provider.

    ``target`` is ``module:Class``; importing it does not import the SDK, whose module is
    ``sdk`` and which ``extra`` installs. ``keys``: the variables that may hold the key, the
    first that is set wins; ``base_url``: the one that may hold another server's address.
    ``models``: the names worth suggesting; others are passed on as they are. ``variants``:
    what differs for models whose name ends so.
    """

    target: str
    sdk: str
    extra: str
    keys: tuple[str, ...] = ()
    base_url: str = ""
    models: tuple[str, ...] = ()
    variants: Mapping[str, BuiltIn] | None = None

    def of(self, model_name: str) -> BuiltIn:
        """The variant that this model needs, or this."""
        for ending, variant in (self.variants or {}).items():
            if model_name.endswith(ending):
                return variant
        return self


def importable(module: str) -> bool:
    """Whether a module is there, without importing it (only the packages it lies in)."""
    try:
        return module in sys.modules or find_spec(module) is not None
    except ModuleNotFoundError:
        return False


_HERE = "speechfleet_worker.providers"
_DASHSCOPE_KEYS = ("DASHSCOPE_API_KEY",)

BUILT_IN: Mapping[str, BuiltIn] = {
    "openai": BuiltIn(
        target=f"{_HERE}.openai:OpenAITTSModel",
        sdk="openai",
        extra="openai",
        keys=("OPENAI_API_KEY",),
        base_url="OPENAI_BASE_URL",
        models=("gpt-4o-mini-tts", "tts-1", "tts-1-hd"),
    ),
    "gemini": BuiltIn(
        target=f"{_HERE}.gemini:GeminiTTSModel",
        sdk="google.genai",
        extra="gemini",
        keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        base_url="GOOGLE_GEMINI_BASE_URL",
        models=("gemini-3.8-flash-tts", "gemini-3.8-flash-lite-tts"),
    ),
    "dashscope": BuiltIn(
        target=f"{_HERE}.dashscope:DashScopeTTSModel",
        sdk="dashscope",
        extra="dashscope",
        keys=_DASHSCOPE_KEYS,
        base_url="DASHSCOPE_HTTP_BASE_URL",
        models=("qwen3-tts-flash", "qwen3-tts-flash-realtime"),
        variants={
            "-realtime": BuiltIn(
                target=f"{_HERE}.dashscope_realtime:DashScopeRealtimeTTSModel",
                sdk="dashscope",
                extra="dashscope",
                keys=_DASHSCOPE_KEYS,
                base_url="DASHSCOPE_REALTIME_URL",
            )
        },
    ),
    "espeak": BuiltIn(
        target=f"{_HERE}.espeak:EspeakTTSModel",
        sdk="espeakng_loader",
        extra="local",
        models=("espeak-ng",),
    ),
}
