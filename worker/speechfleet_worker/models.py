"""The models that a worker process has built, shared where they can be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from speechfleet.jobs import Request
from speechfleet.settings import Settings
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities

KEPT = 64


@dataclass(frozen=True)
class Voice:
    """A model that is known to build, and what it can do. ``language`` guides cutting."""

    build: Callable[[], TTSModelBase]
    first: TTSModelBase
    capabilities: Capabilities
    language: str

    def model(self) -> TTSModelBase:
        """For one call: a realtime model holds one session, any other takes calls at once."""
        return self.build() if self.first.supports_streaming_input else self.first


class Models:
    """Builds models by request, one object for all requests of the same voice and options."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[tuple[str, str, str], Voice] = OrderedDict()

    def voice(self, request: Request) -> Voice:
        """Raises UnknownModel, UnknownVoice, UnknownOption, MissingExtra, AuthenticationFailed."""
        key = (request.model, request.voice, request.options_json)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        build = partial(
            registry.build,
            request.model,
            voice=request.voice,
            options=request.options,
            stream=True,
            settings=self._settings,
        )
        model = build()
        capabilities = registry.capabilities(request.model, self._settings)
        voice = self._kept[key] = Voice(build, model, capabilities, _language(request, model))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return voice


def _language(request: Request, model: TTSModelBase) -> str:
    """A language code for sentence cutting: what the voice says of itself, or English."""
    declared = getattr(model, "language", "") or request.options.get("language_code", "")
    return str(declared or "en").partition("-")[0].lower()
