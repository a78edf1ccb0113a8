"""What texts come to: ``python -m speechfleet_worker.measuring``, for a dry run.

Reads lines of JSON (text, model, voice, options, segments, cache) and cuts them as a worker would.
Prints a list with an object a model: items, characters, text_bytes, segments and units (as the
model counts), how many of the segments are stored already, and of the others the distinct ones,
which are what is asked for. Looks in SPEECHFLEET_STORE; where none is set, nothing is stored.
Status 2, with one line on stderr, where a model is not known or the store cannot be read. For
programs that must not import the worker's package.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from speechfleet import keys
from speechfleet.errors import ObjectMissing, SpeechFleetError
from speechfleet.jobs import Request
from speechfleet.settings import Settings
from speechfleet.store import Store, open_store
from speechfleet_worker.providers import registry
from speechfleet_worker.segment_store import segment_hash
from speechfleet_worker.segments import cut

BAD_INPUT = 2
AT_ONCE = 64
"""Segments that are looked for at once."""
NOTE = "application/json"


@dataclass(frozen=True)
class _Part:
    """A distinct segment and the row that it counts in."""

    row: dict[str, Any]
    characters: int
    units: int


class Measuring:
    """Counts a corpus, a text at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._distinct: dict[str, _Part] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._twice: dict[str, int] = {}

    def add(self, line: str) -> None:
        """Raises UnknownModel."""
        asked = json.loads(line)
        request = Request(asked["text"], asked["model"], asked["voice"], asked["options"])
        can = registry.capabilities(request.model, self._settings)
        row = self._rows.setdefault(request.model, _row(request.model, can.unit))
        row["items"] += 1
        row["characters"] += len(request.text)
        row["text_bytes"] += len(request.text.encode())
        for segment in cut(
            request.text, mode=asked["segments"], limit=can.input_limit, count=can.count
        ):
            part = _Part(row, len(segment.text), can.count(segment.text))
            row["segments"] += 1
            row["units"] += part.units
            if not asked.get("cache", True):
                _ask_for(part)
                continue
            hash = segment_hash(self._settings.namespace, request, segment.text)
            self._distinct.setdefault(hash, part)
            self._twice[hash] = self._twice.get(hash, 0) + 1

    async def rows(self, store: Store | None) -> list[dict[str, Any]]:
        """A row a model, once all texts are added. Raises StoreError."""
        distinct = list(self._distinct)
        for first in range(0, len(distinct), AT_ONCE):
            hashes = distinct[first : first + AT_ONCE]
            looked = (_is_stored(store, self._settings.namespace, hash) for hash in hashes)
            for hash, stored in zip(hashes, await asyncio.gather(*looked), strict=True):
                part = self._distinct[hash]
                if stored:
                    part.row["stored_segments"] += self._twice[hash]
                else:
                    _ask_for(part)
        return list(self._rows.values())


def _row(model: str, unit: str) -> dict[str, Any]:
    counted = (
        "items", "characters", "text_bytes", "segments", "units", "stored_segments",
        "distinct_segments", "distinct_units", "distinct_characters",
    )  # fmt: skip
    return {"model": model, "unit": unit, **dict.fromkeys(counted, 0)}


def _ask_for(part: _Part) -> None:
    part.row["distinct_segments"] += 1
    part.row["distinct_units"] += part.units
    part.row["distinct_characters"] += part.characters


async def _is_stored(store: Store | None, namespace: str, hash: str) -> bool:
    """Whether its audio is there: the segment, or the object that it is a note about."""
    if store is None:
        return False
    key = keys.segment_object(namespace, hash)
    try:
        if (await store.head(key)).media_type == NOTE:
            await store.head(json.loads(await store.get(key))["object"])
    except ObjectMissing:
        return False
    return True


async def measure(lines: Iterable[str], settings: Settings) -> list[dict[str, Any]]:
    """A row a model. Raises UnknownModel, StoreError."""
    measuring = Measuring(settings)
    for line in lines:
        measuring.add(line)
    store = open_store(settings.store) if settings.store is not None else None
    try:
        return await measuring.rows(store)
    finally:
        if store is not None:
            await store.close()


def main() -> int:
    try:
        found = asyncio.run(measure(sys.stdin, Settings.load()))
    except SpeechFleetError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
