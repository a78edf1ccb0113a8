"""Describe the providers in rows, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from speechfleet.errors import SpeechFleetError
from speechfleet.settings import Settings
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.built_in import BUILT_IN

ANY = "..."
"""Stands for the model's name where a provider takes whatever its server knows."""
MOST_MODELS = 200
"""Models of one server that are listed."""


def table(settings: Settings) -> Iterator[dict[str, Any]]:
    """Make a row for each model worth suggesting, and for each provider without one."""
    for name, availability in registry.available(settings).items():
        mine = name in settings.endpoints or name in settings.providers
        models = () if mine or name not in BUILT_IN else BUILT_IN[name].models
        for model in models or (ANY,):
            row = {**asdict(availability), "ready": availability.ready, "model": f"{name}/{model}"}
            yield row | _capabilities(f"{name}/{model}", settings)


async def offered(settings: Settings, providers: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the models of these providers, by provider, as the gateway lists them.

    A library or server that knows voices or models which stand in no list here is asked.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in providers}
    for row in table(settings):
        provider = row["provider"]
        if provider not in rows:
            continue
        shown = {name: row[name] for name in _OFFERED}
        shown["options"] = _option_names(row["model"], settings)
        if provider in {*BUILT_IN, *settings.endpoints} - settings.providers.keys():
            if not shown["voices"]:
                with suppress(SpeechFleetError):
                    shown["voices"] = await registry.voices(row["model"], settings)
            if row["model"].endswith(f"/{ANY}"):
                rows[provider] += [
                    {**shown, "model": name} for name in await _models(provider, settings)
                ]
        rows[provider].append(shown)
    return rows


async def _models(provider: str, settings: Settings) -> list[str]:
    try:
        return (await registry.models(provider, settings))[:MOST_MODELS]
    except SpeechFleetError:
        return []


def _option_names(model: str, settings: Settings) -> list[str] | None:
    try:
        return registry.option_names(model, settings)
    except SpeechFleetError:
        return None


_OFFERED = (
    "model",
    "default_voice",
    "voices",
    "languages",
    "input_limit",
    "unit",
    "sample_rate",
    "voice_prefixes",
    "has_all_voices",
)


def _capabilities(model: str, settings: Settings) -> dict[str, Any]:
    try:
        can = registry.capabilities(model, settings)
    except SpeechFleetError as error:
        return {
            "ready": False, "reason": error.message, "input_limit": 0, "unit": "",
            "sample_rate": 0, "default_voice": "", "voices": [], "languages": [],
            "voice_prefixes": [], "has_all_voices": False,
            "streaming_input": False, "streaming_output": False,
        }  # fmt: skip
    return {
        "input_limit": can.input_limit,
        "unit": can.unit,
        "sample_rate": can.sample_rate,
        "default_voice": can.default_voice,
        "voices": list(can.voices),
        "languages": list(can.languages),
        "voice_prefixes": list(can.voice_prefixes),
        "has_all_voices": bool(can.voices),
        "streaming_input": can.streaming_input,
        "streaming_output": can.streaming_output,
    }
