"""Models by name: the adapters, people's own, and the endpoints of the settings.

The adapters are here by the names that AgentScope gave them, each imported when it is asked
for, because their SDKs are extras:

    from speechfleet_worker.providers import OpenAITTSModel
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechfleet_worker.providers.dashscope import DashScopeTTSModel
    from speechfleet_worker.providers.dashscope_realtime import DashScopeRealtimeTTSModel
    from speechfleet_worker.providers.espeak import EspeakTTSModel
    from speechfleet_worker.providers.gemini import GeminiTTSModel
    from speechfleet_worker.providers.openai import OpenAITTSModel

_MODULES = {
    "DashScopeRealtimeTTSModel": "dashscope_realtime",
    "DashScopeTTSModel": "dashscope",
    "EspeakTTSModel": "espeak",
    "GeminiTTSModel": "gemini",
    "OpenAITTSModel": "openai",
}

__all__ = [
    "DashScopeRealtimeTTSModel",
    "DashScopeTTSModel",
    "EspeakTTSModel",
    "GeminiTTSModel",
    "OpenAITTSModel",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
