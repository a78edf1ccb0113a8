"""What the providers can do, as rows for people and programs."""

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


def table(settings: Settings) -> Iterator[dict[str, Any]]:
    """A row for each model worth suggesting, and for each provider that names none."""
    for name, availability in registry.available(settings).items():
        mine = name in settings.endpoints or name in settings.providers
        models = () if mine or name not in BUILT_IN else BUILT_IN[name].models
        for model in models or (ANY,):
            row = {**asdict(availability), "ready": availability.ready, "model": f"{name}/{model}"}
            yield row | _capabilities(f"{name}/{model}", settings)


async def offered(settings: Settings, providers: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The models of these providers, by provider; where there is no list of voices, whoever
    knows them is asked (a server, a library)."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in providers}
    for row in table(settings):
        if row["provider"] in rows:
            kept = {name: row[name] for name in _OFFERED}
            ours = row["provider"] in {*BUILT_IN, *settings.endpoints} - settings.providers.keys()
            if ours and not kept["voices"]:
                with suppress(SpeechFleetError):
                    kept["voices"] = await registry.voices(row["model"], settings)
            rows[row["provider"]].append(kept)
    return rows


_OFFERED = ("model", "default_voice", "voices", "languages", "input_limit", "unit", "sample_rate")


def _capabilities(model: str, settings: Settings) -> dict[str, Any]:
    try:
        can = registry.capabilities(model, settings)
    except SpeechFleetError as error:
        return {
            "ready": False, "reason": error.message, "input_limit": 0, "unit": "",
            "sample_rate": 0, "default_voice": "", "voices": [], "languages": [],
            "streaming_input": False, "streaming_output": False,
        }  # fmt: skip
    return {
        "input_limit": can.input_limit,
        "unit": can.unit,
        "sample_rate": can.sample_rate,
        "default_voice": can.default_voice,
        "voices": list(can.voices),
        "languages": list(can.languages),
        "streaming_input": can.streaming_input,
        "streaming_output": can.streaming_output,
    }
