"""Print the registry as JSON: ``python -m speechfleet_worker.providers``.

With ``--voices MODEL``, the voices of one model. Status 2, with one line on stderr, where
they are not known. For programs that must not import the worker's package.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from speechfleet.errors import SpeechFleetError
from speechfleet.settings import Settings
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.catalogue import table

BAD_INPUT = 2


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
