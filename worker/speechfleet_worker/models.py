"""The models that a worker process has built, shared where they can be."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from speechfleet.jobs import Request
from speechfleet.settings import Settings
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities, ProviderModel

KEPT = 64


@dataclass(frozen=True)
class Voice:
    """A model ready to speak, and what it can do. ``language`` guides the cutting of text."""

    model: TTSModelBase
    capabilities: Capabilities
    language: str


class Models:
    """Builds models by request.

    An adapter of ours takes any number of calls at once, so one object serves all requests of
    the same model, voice and options. A realtime one holds one session, and of somebody's own
    class nothing is known: those are built for each job.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[tuple[str, str, str], Voice] = OrderedDict()

    def voice(self, request: Request) -> Voice:
        """Raises UnknownModel, UnknownVoice, UnknownOption, MissingExtra, AuthenticationFailed."""
        key = (request.model, request.voice, request.options_json)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        model = registry.build(
            request.model,
            voice=request.voice,
            options=request.options,
            stream=True,
            settings=self._settings,
        )
        capabilities = registry.capabilities(request.model, self._settings)
        voice = Voice(model, capabilities, _language(request, model))
        if isinstance(model, ProviderModel) and not model.supports_streaming_input:
            self._kept[key] = voice
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return voice


def _language(request: Request, model: TTSModelBase) -> str:
    """A language code for sentence cutting: what the voice says of itself, or English."""
    declared = getattr(model, "language", "") or request.options.get("language_code", "")
    return str(declared or "en").partition("-")[0].lower()
