"""The registry as JSON on stdout: ``python -m speechfleet_worker.providers``.

With ``--voices MODEL``, the voices of one model. Status 2, with one line on stderr, where
that cannot be told. For programs that must not import the worker's package.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from speechfleet.errors import SpeechFleetError
from speechfleet.settings import Settings
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.built_in import BUILT_IN

BAD_INPUT = 2


def table(settings: Settings) -> Iterator[dict[str, Any]]:
    """A row for each model worth suggesting, and for each provider that names none."""
    for name, availability in registry.available(settings).items():
        mine = name in settings.endpoints or name in settings.providers
        models = () if mine or name not in BUILT_IN else BUILT_IN[name].models
        for model in models or ("...",):
            row = {**asdict(availability), "ready": availability.ready, "model": f"{name}/{model}"}
            yield row | _capabilities(f"{name}/{model}", settings)


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


def main() -> int:
    parser = argparse.ArgumentParser("python -m speechfleet_worker.providers")
    parser.add_argument("--voices", metavar="MODEL", help="the voices of one model")
    model: str | None = parser.parse_args().voices
    try:
        settings = Settings.load()
        if model is None:
            answer: dict[str, Any] = {"providers": list(table(settings))}
        else:
            voices = asyncio.run(registry.voices(model, settings))
            answer = {"model": model, "voices": voices}
    except SpeechFleetError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
