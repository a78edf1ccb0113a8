"""List the built-in providers: their adapters, and what those need to run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec


@dataclass(frozen=True)
class BuiltIn:
    """Describes a provider.

    ``target`` is ``module:Class``; importing it does not import the SDK, whose module is
    ``sdk`` and which ``extra`` installs. ``keys``: the variables that may hold the key, the
    first that is set wins; ``base_url``: the one that may hold another server's address.
    ``models``: the names worth suggesting; others are passed on as they are. ``variants``:
    what differs for models whose name fits a pattern (``*`` is any text). ``slots``: jobs that
    a worker speaks at once where no setting says it; None: as many as it has.
    ``is_preloaded``: workers import the SDK when they start; else the adapter does, in a thread.
    """

    target: str
    sdk: str
    extra: str
    keys: tuple[str, ...] = ()
    base_url: str = ""
    models: tuple[str, ...] = ()
    variants: Mapping[str, BuiltIn] | None = None
    slots: int | None = None
    is_preloaded: bool = True

    def of(self, model_name: str) -> BuiltIn:
        """Return the variant that this model needs, or this."""
        for pattern, variant in (self.variants or {}).items():
            if fnmatchcase(model_name, pattern):
                return variant
        return self


def importable(module: str) -> bool:
    """Tell whether a module is there, without importing more than its packages."""
    try:
        return module in sys.modules or find_spec(module) is not None
    except ModuleNotFoundError:
        return False


_HERE = "speechfleet_worker.providers"
_OPENAI_KEYS = ("OPENAI_API_KEY",)
_DASHSCOPE_KEYS = ("DASHSCOPE_API_KEY",)
_TASK_PROTOCOL = BuiltIn(
    target=f"{_HERE}.dashscope.cosyvoice:DashScopeCosyVoiceTTSModel",
    sdk="websockets",
    extra="dashscope",
    keys=_DASHSCOPE_KEYS,
    base_url="DASHSCOPE_WEBSOCKET_BASE_URL",
)

LOCAL_SLOTS = 16
"""Jobs at once on a voice that speaks one sentence after the other: they keep it busy.

With more, each would wait longer for its turn than the time-outs of a call allow."""

BUILT_IN: Mapping[str, BuiltIn] = {
    "openai": BuiltIn(
        target=f"{_HERE}.openai:OpenAITTSModel",
        sdk="openai",
        extra="openai",
        keys=_OPENAI_KEYS,
        base_url="OPENAI_BASE_URL",
        models=("gpt-4o-mini-tts", "gpt-realtime-2.1-mini", "tts-1", "tts-1-hd"),
        variants={
            "gpt-realtime*": BuiltIn(
                target=f"{_HERE}.openai_realtime:OpenAIRealtimeTTSModel",
                sdk="openai",
                extra="openai",
                keys=_OPENAI_KEYS,
                base_url="OPENAI_BASE_URL",
            )
        },
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
        target=f"{_HERE}.dashscope.http:DashScopeTTSModel",
        sdk="dashscope",
        extra="dashscope",
        keys=_DASHSCOPE_KEYS,
        base_url="DASHSCOPE_HTTP_BASE_URL",
        models=(
            *("qwen3-tts-flash", "qwen3-tts-flash-realtime"),
            *("qwen-audio-3.0-tts-flash", "cosyvoice-v3-flash"),
        ),
        variants={
            "cosyvoice-*": _TASK_PROTOCOL,
            "qwen-audio-*": _TASK_PROTOCOL,
            "*-realtime*": BuiltIn(
                target=f"{_HERE}.dashscope.realtime:DashScopeRealtimeTTSModel",
                sdk="dashscope",
                extra="dashscope",
                keys=_DASHSCOPE_KEYS,
                base_url="DASHSCOPE_REALTIME_URL",
            ),
        },
    ),
    "local": BuiltIn(
        target=f"{_HERE}.local:LocalTTSModel",
        sdk="espeakng_loader",
        extra="local",
        models=("auto",),
        slots=LOCAL_SLOTS,
    ),
    "hibari": BuiltIn(
        target=f"{_HERE}.hibari.model:HibariTTSModel",
        sdk="hibari",
        extra="local",
        models=("heart",),
        slots=LOCAL_SLOTS,
        is_preloaded=False,
    ),
    "elevenlabs": BuiltIn(
        target=f"{_HERE}.elevenlabs:ElevenLabsTTSModel",
        sdk="httpx",
        extra="elevenlabs",
        keys=("ELEVENLABS_API_KEY",),
        base_url="ELEVENLABS_BASE_URL",
        models=("eleven_flash_v2_5", "eleven_multilingual_v2", "eleven_v3"),
    ),
    "polly": BuiltIn(
        target=f"{_HERE}.polly:PollyTTSModel",
        sdk="botocore",
        extra="polly",
        keys=(
            "AWS_ACCESS_KEY_ID",
            "AWS_PROFILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
        base_url="AWS_ENDPOINT_URL_POLLY",
        models=("neural", "generative", "long-form", "standard"),
    ),
    "espeak": BuiltIn(
        target=f"{_HERE}.espeak.model:EspeakTTSModel",
        sdk="espeakng_loader",
        extra="local",
        models=("espeak-ng",),
    ),
}
