"""What texts come to: ``python -m speechfleet_worker.measuring``, for a dry run.

Reads lines of JSON (text, model, voice, options, segments) and cuts them as a worker would.
Prints a list with an object a model: items, characters, text_bytes, segments and units (as the
model counts), and of those the distinct ones. Status 2, with one line on stderr, where a model
is not known. For programs that must not import the worker's package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from speechfleet.errors import SpeechFleetError
from speechfleet.jobs import Request
from speechfleet.settings import Settings
from speechfleet_worker.providers import registry
from speechfleet_worker.segment_store import segment_hash
from speechfleet_worker.segments import cut

BAD_INPUT = 2


def measure(lines: Iterable[str], settings: Settings) -> list[dict[str, Any]]:
    """A row a model. Raises UnknownModel."""
    rows: dict[str, dict[str, Any]] = {}
    seen: set[bytes] = set()
    for line in lines:
        asked = json.loads(line)
        request = Request(asked["text"], asked["model"], asked["voice"], asked["options"])
        can = registry.capabilities(request.model, settings)
        row = rows.setdefault(request.model, _row(request.model, can.unit))
        row["items"] += 1
        row["characters"] += len(request.text)
        row["text_bytes"] += len(request.text.encode())
        for segment in cut(
            request.text, mode=asked["segments"], limit=can.input_limit, count=can.count
        ):
            units = can.count(segment.text)
            row["segments"] += 1
            row["units"] += units
            hash = bytes.fromhex(segment_hash("", request, segment.text))
            if hash not in seen:
                seen.add(hash)
                row["distinct_segments"] += 1
                row["distinct_units"] += units
                row["distinct_characters"] += len(segment.text)
    return list(rows.values())


def _row(model: str, unit: str) -> dict[str, Any]:
    counted = (
        "items", "characters", "text_bytes", "segments", "units",
        "distinct_segments", "distinct_units", "distinct_characters",
    )  # fmt: skip
    return {"model": model, "unit": unit, **dict.fromkeys(counted, 0)}


def main() -> int:
    try:
        found = measure(sys.stdin, Settings.load())
    except SpeechFleetError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
