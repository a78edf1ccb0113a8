"""The models that a worker process has built, shared where they can be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from speechfleet.request import Request
from speechfleet.settings import Settings
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.request_language import language_of, language_of_job

MAX_KEPT_MODELS = 64
"""Models kept in memory; the least recently used one goes first."""


@dataclass(frozen=True)
class Voice:
    """A model that is known to build, and what it can do.

    ``language`` guides cutting; "" lets the text decide. ``rendering`` and ``spoken_by``: of a
    text, as in `ProviderModel`.
    """

    build: Callable[[], TTSModelBase]
    first: TTSModelBase
    capabilities: Capabilities
    language: str
    stretch: float = 1.0
    """The factor by which the fleet makes the audio faster, see `providers.speed`."""
    rendering: Callable[[str], str] = lambda _: ""
    spoken_by: Callable[[str], tuple[str, ...]] = lambda _: ()

    def model(self) -> TTSModelBase:
        """For one call: a realtime model holds one session, any other takes calls at once."""
        return self.build() if self.first.supports_streaming_input else self.first


class ModelCache:
    """Build models by request, one object for all requests of the same voice and options."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[tuple[str, str, str, str], Voice] = OrderedDict()

    def voice(self, request: Request) -> Voice:
        """Return the model of a request, built or kept.

        Raises UnknownModel, UnknownVoice, UnknownOption, MissingExtra, AuthenticationFailed.
        """
        of_job = self._language_of_job(request)
        key = (request.model, request.voice, request.options_json, of_job)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        build = partial(
            registry.build,
            request.model,
            voice=request.voice,
            options=request.options,
            stream=True,
            language=of_job,
            settings=self._settings,
        )
        model = build()
        language = language_of(request, str(getattr(model, "language", "") or "")).tag
        stretch = registry.stretch_of(request.model, request.options, self._settings)
        capabilities = registry.capabilities(request.model, self._settings)
        asked: dict[str, str] = {"voice": request.voice, "language": of_job}
        voice = self._kept[key] = Voice(
            build,
            model,
            capabilities,
            language,
            stretch,
            partial(registry.rendering, request.model, **asked, settings=self._settings),
            partial(registry.spoken_by, request.model, **asked, settings=self._settings),
        )
        if len(self._kept) > MAX_KEPT_MODELS:
            self._kept.popitem(last=False)
        return voice

    def _language_of_job(self, request: Request) -> str:
        """Return the language that the model is built with."""
        if registry.chooses_voice(request.model, self._settings):
            return language_of_job(request)
        return request.language
