"""Models by name: the built-in adapters, the endpoints of the settings, and people's own.

A model is ``provider/model``. Who the provider is, is looked up in this order: the classes of
SPEECHFLEET_PROVIDERS, the endpoints of SPEECHFLEET_ENDPOINTS, the built-in ones, the entry
points of the group ``speechfleet.providers``. No SDK is imported before `build`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from speechfleet.errors import (
    AuthenticationFailed,
    MisconfiguredError,
    MissingExtra,
    UnknownModel,
    UnknownVoice,
)
from speechfleet.settings import Endpoint, Settings
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers.base import (
    Capabilities,
    ProviderModel,
    unknown_option,
    validated_options,
)
from speechfleet_worker.providers.built_in import BUILT_IN, BuiltIn, importable
from speechfleet_worker.providers.class_lookup import class_at
from speechfleet_worker.providers.speed import SPEED, split_speed

GROUP = "speechfleet.providers"
NO_KEY = "none"
"""The key of an endpoint without ``key_env``: the SDKs insist on one, such servers ignore it."""


@dataclass(frozen=True)
class Availability:
    """A provider's readiness in this process. ``reason``: what to do, "" where it is ready."""

    provider: str
    sdk: bool
    key: bool
    reason: str = ""

    @property
    def ready(self) -> bool:
        return self.sdk and self.key


def split(model: str) -> tuple[str, str]:
    """``openai/gpt-4o-mini-tts`` at the first slash. Raises UnknownModel with near matches."""
    provider, _, name = model.partition("/")
    if not (provider and name):
        raise UnknownModel(model, _examples(), note="(a model is named provider/model)")
    return provider, name


def available(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> dict[str, Availability]:
    """Check for each provider, by name, whether it can be served from here.

    Nothing is imported for it, and no server is asked.
    """
    return {
        name: _Provider.find(name, settings).availability(environ) for name in _names(settings)
    }


def preload(names: Iterable[str], settings: Settings) -> None:
    """Import the SDKs of these providers now, as far as they are installed.

    Each takes up to a second, which would hold up everything else on a running loop.
    """
    for name in names:
        built_in = _Provider.find(name, settings).built_in
        if built_in is not None and built_in.is_preloaded and importable(built_in.sdk):
            import_module(built_in.sdk)


def capabilities(model: str, settings: Settings) -> Capabilities:
    """Describe a model. Raises UnknownModel; MisconfiguredError for a class of one's own."""
    provider, name = split(model)
    return _find(model, provider, name, settings).capabilities(name)


def build(
    model: str,
    *,
    voice: str = "",
    options: Mapping[str, Any] | None = None,
    stream: bool = True,
    language: str = "",
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
) -> TTSModelBase:
    """Build a model that is ready to speak; "" is the model's default voice.

    ``language``: of the text, as a tag, for a model that chooses its voice by it.

    Raises UnknownModel, UnknownVoice and UnknownOption with near matches, InvalidRequest
    naming an option with a wrong value, AuthenticationFailed naming the variable of a missing
    key, MissingExtra, MisconfiguredError.
    """
    provider, name = split(model)
    found = _find(model, provider, name, settings)
    _check_voice(voice, found.capabilities(name))
    kind = found.load(name)
    options = split_speed(kind, options or {}, name).options
    arguments: dict[str, Any] = {"model_name": name, "stream": stream}
    if voice or not _has_default_voice(kind):
        arguments["voice"] = voice
    if issubclass(kind, ProviderModel):
        arguments |= {"options": validated_options(kind.Options, options)}
        more = {**kind.from_settings(settings), "timeouts": settings.timeouts}
        if kind.chooses_voice:
            more |= {"language": language}
    else:
        _check_arguments(kind, options)
        arguments |= options
        more = {}
    more |= found.account(name, environ)
    accepted = inspect.signature(kind).parameters
    return kind(**arguments, **{key: value for key, value in more.items() if key in accepted})


async def voices(
    model: str, settings: Settings, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """List the voices of a model, asking its server if needed. Raises as `build` does."""
    if known := capabilities(model, settings).voices:
        return sorted(known)
    built = build(model, settings=settings, environ=environ)
    return await built.list_voices() if isinstance(built, ProviderModel) else []


async def models(
    provider: str, settings: Settings, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Return the models that a provider's server lists. Raises as `build` does."""
    built = build(f"{provider}/any", settings=settings, environ=environ)
    names = await built.list_models() if isinstance(built, ProviderModel) else []
    return [f"{provider}/{name}" for name in names]


def language_of_voice(model: str, voice: str, settings: Settings) -> str:
    """Return the tag of the one language that a voice speaks; "" where it speaks any.

    Raises UnknownModel; MisconfiguredError for a class of one's own.
    """
    provider, name = split(model)
    kind = _find(model, provider, name, settings).kind(name)
    if issubclass(kind, ProviderModel):
        return kind.language_of_voice(voice or kind.describe(name).default_voice)
    declared = getattr(kind, "language", "")
    return declared if isinstance(declared, str) else ""


def chooses_voice(model: str, settings: Settings) -> bool:
    """Tell whether a model chooses its voice by the language of the text.

    Raises UnknownModel; MisconfiguredError for a class of one's own.
    """
    provider, name = split(model)
    kind = _find(model, provider, name, settings).kind(name)
    return issubclass(kind, ProviderModel) and kind.chooses_voice


def spoken_by(
    model: str, text: str, *, voice: str, language: str, settings: Settings
) -> tuple[str, ...]:
    """Name the models that speak a text where ``model`` leaves that to others; else none.

    Raises UnknownModel; MisconfiguredError for a class of one's own.
    """
    provider, name = split(model)
    kind = _find(model, provider, name, settings).kind(name)
    if not issubclass(kind, ProviderModel):
        return ()
    return kind.spoken_by(text, voice=voice, language=language)


def rendering(model: str, text: str, *, voice: str, language: str, settings: Settings) -> str:
    """Name what shapes the audio of a text beside model, voice and options; "" for nothing.

    Raises UnknownModel; MisconfiguredError for a class of one's own.
    """
    provider, name = split(model)
    kind = _find(model, provider, name, settings).kind(name)
    if not issubclass(kind, ProviderModel):
        return ""
    return kind.rendering(text, voice=voice, language=language, settings=settings)


async def check(
    model: str, *, voice: str = "", options: Mapping[str, Any] | None = None, settings: Settings
) -> None:
    """Raise what `build` and a first call would raise of model, voice and options.

    No key is needed, and no server is asked. Raises UnknownModel, UnknownVoice and UnknownOption
    with near matches, InvalidRequest naming an option with a wrong value, MisconfiguredError.
    """
    provider, name = split(model)
    found = _find(model, provider, name, settings)
    kind = found.kind(name)
    options = split_speed(kind, options or {}, name).options
    if not issubclass(kind, ProviderModel):
        _check_arguments(kind, options)
        return
    _check_voice(voice, found.capabilities(name))
    validated_options(kind.Options, options)
    if found.endpoint is None:
        with suppress(MissingExtra):  # a worker elsewhere may have the library
            await kind.check_voice(name, voice, settings)


def option_names(model: str, settings: Settings) -> list[str] | None:
    """Return the names of a model's options; None where it takes what is not known here.

    Raises UnknownModel; MisconfiguredError for a class of one's own.
    """
    provider, name = split(model)
    kind = _find(model, provider, name, settings).kind(name)
    return sorted({*kind.Options.model_fields, SPEED}) if issubclass(kind, ProviderModel) else None


def stretch_of(model: str, options: Mapping[str, Any], settings: Settings) -> float:
    """Return the factor by which the fleet makes a model's audio faster; 1 for as it is.

    Raises UnknownModel, InvalidRequest; MisconfiguredError for a class of one's own.
    """
    provider, name = split(model)
    return split_speed(_find(model, provider, name, settings).kind(name), options, name).stretch


@dataclass(frozen=True)
class _Provider:
    """Resolves a name: an adapter of ours, perhaps at an endpoint, or a class of one's own."""

    name: str
    built_in: BuiltIn | None = None
    endpoint: Endpoint | None = None
    target: str = ""

    @classmethod
    def find(cls, name: str, settings: Settings) -> _Provider:
        """Find a provider by name. Raises KeyError where there is none."""
        if name in settings.providers:
            return cls(name, target=settings.providers[name])
        if endpoint := settings.endpoints.get(name):
            if endpoint.adapter not in BUILT_IN:
                known = ", ".join(BUILT_IN)
                raise MisconfiguredError(
                    f"SPEECHFLEET_ENDPOINTS: {name}: adapter {endpoint.adapter!r}, not one of "
                    f"{known}"
                )
            return cls(name, BUILT_IN[endpoint.adapter], endpoint)
        if name in BUILT_IN:
            return cls(name, BUILT_IN[name])
        return cls(name, target=_entry_points()[name])

    def availability(self, environ: Mapping[str, str]) -> Availability:
        if self.built_in is None:
            package = self.target.partition(":")[0].partition(".")[0]
            there = importable(package)
            reason = "" if there else f"package {package!r} is not installed"
            return Availability(self.name, sdk=there, key=True, reason=reason)
        variables = self._key_variables()
        sdk = importable(self.built_in.sdk)
        key = not variables or any(environ.get(variable) for variable in variables)
        reason = ""
        if not sdk:
            reason = f"pip install 'speechfleet[{self.built_in.extra}]'"
        elif not key:
            reason = "set " + " or ".join(variables)
        return Availability(self.name, sdk, key, reason)

    def capabilities(self, model_name: str) -> Capabilities:
        kind = self.kind(model_name)
        if not issubclass(kind, ProviderModel):
            own = getattr(kind, "capabilities", None)
            return own if isinstance(own, Capabilities) else Capabilities()
        if self.endpoint is None:
            return kind.describe(model_name)
        # Another server than the provider's own: other voices, perhaps another limit.
        return replace(
            kind.capabilities,
            voices=(),
            sample_rate=self.endpoint.sample_rate or kind.capabilities.sample_rate,
            input_limit=self.endpoint.limits.get("input", kind.capabilities.input_limit),
        )

    def load(self, model_name: str) -> type[TTSModelBase]:
        """Load the class, once its SDK is known to be there."""
        if self.built_in is not None and not importable(self.built_in.sdk):
            raise MissingExtra(f"the provider {self.name!r}", self.built_in.extra)
        return self.kind(model_name)

    def account(self, model_name: str, environ: Mapping[str, str]) -> dict[str, Any]:
        """Collect key, address and rate, as far as they are set."""
        if self.built_in is None:
            return {}
        variables = self._key_variables()
        key = next((environ[v] for v in variables if environ.get(v)), "")
        if variables and not key:
            names = " or ".join(variables)
            raise AuthenticationFailed(f"no key for {self.name!r}: set {names}")
        if self.endpoint is not None:
            account = {
                "api_key": key or NO_KEY,
                "base_url": self.endpoint.base_url,
                "sample_rate": self.endpoint.sample_rate,
                "generate_kwargs": self.endpoint.request_fields,
            }
        else:
            base_url = environ.get(self.built_in.of(model_name).base_url)
            account = {"api_key": key, "base_url": base_url}
        return {name: value for name, value in account.items() if value}

    def _key_variables(self) -> tuple[str, ...]:
        if self.endpoint is not None:
            return (self.endpoint.key_env,) if self.endpoint.key_env else ()
        return self.built_in.keys if self.built_in else ()

    def kind(self, model_name: str) -> type[TTSModelBase]:
        """Return the class of a model. Raises MisconfiguredError."""
        target = self.built_in.of(model_name).target if self.built_in else self.target
        return class_at(target, self.name)


def _find(model: str, provider: str, name: str, settings: Settings) -> _Provider:
    try:
        return _Provider.find(provider, settings)
    except KeyError:
        known = [*_examples(), *(f"{other}/{name}" for other in _names(settings))]
        raise UnknownModel(model, dict.fromkeys(known)) from None


def _names(settings: Settings) -> list[str]:
    return list(
        dict.fromkeys([*BUILT_IN, *settings.endpoints, *settings.providers, *_entry_points()])
    )


def _examples() -> list[str]:
    return [f"{name}/{model}" for name, entry in BUILT_IN.items() for model in entry.models]


def _entry_points() -> dict[str, str]:
    return {point.name: f"{point.module}:{point.attr}" for point in entry_points(group=GROUP)}


def _check_voice(voice: str, declared: Capabilities) -> None:
    if not voice or not declared.voices or voice in declared.voices:
        return
    if not (declared.voice_prefixes and voice.startswith(declared.voice_prefixes)):
        raise UnknownVoice(voice, declared.voices)


def _check_arguments(kind: type[TTSModelBase], options: Mapping[str, Any]) -> None:
    """Check options against the signature of a class of one's own."""
    parameters = inspect.signature(kind).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = {parameter.name for parameter in parameters} - {"model_name", "stream", "voice"}
    for name in options:
        if name not in known:
            raise unknown_option(name, known)


def _has_default_voice(kind: type[TTSModelBase]) -> bool:
    parameter = inspect.signature(kind).parameters.get("voice")
    return parameter is not None and parameter.default not in ("", None, parameter.empty)
