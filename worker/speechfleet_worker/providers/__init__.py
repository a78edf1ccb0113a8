"""Models by name: the adapters, people's own, and the endpoints of the settings.

The adapters are here by the names that AgentScope gave them, each imported when it is asked
for, because their SDKs are extras:

    from speechfleet_worker.providers import OpenAITTSModel
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechfleet_worker.providers.dashscope.cosyvoice import (
        DashScopeCosyVoiceRealtimeTTSModel,
        DashScopeCosyVoiceTTSModel,
    )
    from speechfleet_worker.providers.dashscope.http import DashScopeTTSModel
    from speechfleet_worker.providers.dashscope.realtime import DashScopeRealtimeTTSModel
    from speechfleet_worker.providers.elevenlabs import ElevenLabsTTSModel
    from speechfleet_worker.providers.espeak.model import EspeakTTSModel
    from speechfleet_worker.providers.gemini import GeminiTTSModel
    from speechfleet_worker.providers.hibari.model import HibariTTSModel
    from speechfleet_worker.providers.local import LocalTTSModel
    from speechfleet_worker.providers.openai import OpenAITTSModel
    from speechfleet_worker.providers.openai_realtime import OpenAIRealtimeTTSModel
    from speechfleet_worker.providers.polly import PollyTTSModel

_MODULES = {
    "DashScopeCosyVoiceRealtimeTTSModel": "dashscope.cosyvoice",
    "DashScopeCosyVoiceTTSModel": "dashscope.cosyvoice",
    "DashScopeRealtimeTTSModel": "dashscope.realtime",
    "DashScopeTTSModel": "dashscope.http",
    "ElevenLabsTTSModel": "elevenlabs",
    "EspeakTTSModel": "espeak.model",
    "GeminiTTSModel": "gemini",
    "HibariTTSModel": "hibari.model",
    "LocalTTSModel": "local",
    "OpenAIRealtimeTTSModel": "openai_realtime",
    "OpenAITTSModel": "openai",
    "PollyTTSModel": "polly",
}

__all__ = [
    "DashScopeCosyVoiceRealtimeTTSModel",
    "DashScopeCosyVoiceTTSModel",
    "DashScopeRealtimeTTSModel",
    "DashScopeTTSModel",
    "ElevenLabsTTSModel",
    "EspeakTTSModel",
    "GeminiTTSModel",
    "HibariTTSModel",
    "LocalTTSModel",
    "OpenAIRealtimeTTSModel",
    "OpenAITTSModel",
    "PollyTTSModel",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
