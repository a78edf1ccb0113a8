"""Known servers that speak OpenAI's protocol, as values of SPEECHFLEET_ENDPOINTS.

``speechfleet providers --profile NAME`` prints one of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from speechfleet.settings import Endpoint


@dataclass(frozen=True)
class Profile:
    """A server: its endpoint, a model and a voice to begin with, and what to know of it."""

    endpoint: Endpoint
    model: str
    voice: str
    note: str = ""

    def setting(self, name: str) -> str:
        """Return the value of SPEECHFLEET_ENDPOINTS that has this server under a name."""
        return json.dumps({name: self.endpoint.model_dump(exclude_defaults=True)})


_HERE = "http://127.0.0.1"
_WAV = {"response_format": "wav"}

PROFILES: Mapping[str, Profile] = {
    "groq": Profile(
        Endpoint(
            base_url="https://api.groq.com/openai/v1",
            key_env="GROQ_API_KEY",
            request_fields=_WAV,
        ),
        model="canopylabs/orpheus-v1-english",
        voice="tara",
        note="Groq sends no raw PCM, so WAV is asked for.",
    ),
    "openrouter": Profile(
        Endpoint(base_url="https://openrouter.ai/api/v1", key_env="OPENROUTER_API_KEY"),
        model="openai/gpt-4o-mini-tts",
        voice="alloy",
        note="Many vendors behind one key; models: /models?output_modalities=speech.",
    ),
    "inworld": Profile(
        Endpoint(
            base_url="https://api.inworld.ai/v1",
            key_env="INWORLD_API_KEY",
            limits={"input": 4000},
        ),
        model="inworld-tts-2",
        voice="Ashley",
        note="Takes the names of its own models only.",
    ),
    "kokoro": Profile(
        Endpoint(base_url=f"{_HERE}:8880/v1"),
        model="kokoro",
        voice="af_heart",
        note="Kokoro-FastAPI.",
    ),
    "vllm": Profile(
        Endpoint(base_url=f"{_HERE}:8000/v1"),
        model="Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice",
        voice="vivian",
        note="vLLM-Omni; it answers with WAV, and the rate is read from there.",
    ),
    "speaches": Profile(
        Endpoint(base_url=f"{_HERE}:8000/v1"),
        model="speaches-ai/Kokoro-82M-v1.0-ONNX",
        voice="af_heart",
        note="Load the model there first: POST /v1/models/MODEL.",
    ),
    "localai": Profile(
        Endpoint(base_url=f"{_HERE}:8080/v1", request_fields=_WAV),
        model="tts-1",
        voice="alloy",
        note="The names of models are those of its own configuration.",
    ),
}
"""By name. Addresses of servers of one's own are their usual ports on this machine."""
