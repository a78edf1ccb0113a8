"""Measures, checks and cuts requests that are not sent.

    python -m speechfleet_worker.measure COMMAND

For programs that must not import the worker's package. Reads lines of JSON, each a request
(text, model, voice, options, segments, language, cache, and ``line``, by which it is named), and
prints one JSON object:

    corpus     {"models": [...], "problems": [...]}: a row a model, cut as a worker would, with
               the segments that are stored already; and what no worker could speak
    check      {"problems": [...]}: only model, voice and options are looked at
    segments   {"language", "source", "limit", ...}: how the one text will be cut, and why

Looks in SPEECHFLEET_STORE; where none is set, nothing is stored. A problem is (line, code,
message). Status 2, with one line on stderr, where the store or a provider's class cannot be used.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from speechfleet.batch.pricing import speech_minutes
from speechfleet.errors import EmptyText, InvalidRequest, SpeechFleetError
from speechfleet.request import Request
from speechfleet.segment_store import SegmentStore, segment_hash
from speechfleet.settings import Settings
from speechfleet.spoken_form import SpokenForm
from speechfleet.store import Store, open_store
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.request_language import (
    LanguageChoice,
    LanguageSource,
    language_of,
    language_of_job,
)
from speechfleet_worker.segmentation.cut import language_of_text
from speechfleet_worker.spoken_text import Speaker, request_for, spoken_segments, stretch_salt

BAD_INPUT = 2
MAX_CONCURRENT_LOOKUPS = 64
"""Segments that are looked for in the store at once."""
MAX_PROBLEMS = 1000
"""Problems that are kept to be named; all are counted."""

Row = dict[str, Any]


@dataclass(frozen=True)
class _Distinct:
    """A distinct segment, the row that it counts in, and how often it occurs."""

    row: Row
    characters: int
    text_bytes: int
    units: int
    minutes: float


class Combinations:
    """Checks each distinct combination of model, voice and options once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._checked: dict[tuple[str, str, str], InvalidRequest | None] = {}

    async def check(self, request: Request) -> None:
        """Raise UnknownModel, UnknownVoice, UnknownOption, InvalidRequest; MisconfiguredError."""
        for voice in request.voices:
            await self._check_one(request.with_voice(voice))

    async def _check_one(self, request: Request) -> None:
        key = (request.model, request.voice, request.options_json)
        if key not in self._checked:
            self._checked[key] = await self._problem(request)
        problem = self._checked[key]
        if problem is not None:
            raise problem

    async def _problem(self, request: Request) -> InvalidRequest | None:
        try:
            await registry.check(
                request.model,
                voice=request.voice,
                options=request.options,
                settings=self._settings,
            )
        except InvalidRequest as error:
            return error
        return None


class Measurement:
    """Counts the requests of a corpus, one at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._combinations = Combinations(settings)
        self._distinct: dict[str, _Distinct] = {}
        self._occurrences: dict[str, int] = {}
        self._rows: dict[str, Row] = {}
        self.problems: list[dict[str, Any]] = []

    async def add(self, line: str) -> None:
        """Count one request, or note its problem. Raises MisconfiguredError."""
        fields = json.loads(line)
        request = _request(fields)
        try:
            await self._combinations.check(request)
            self._count(request)
        except InvalidRequest as error:
            _note(self.problems, fields, error)

    def _count(self, request: Request) -> None:
        can = registry.capabilities(request.model, self._settings)
        segments = spoken_segments(request, self._speaker)
        spoken = [segment for segment in segments if not segment.pause]
        if not spoken:
            raise EmptyText("there is nothing to say: the text holds no letter and no digit")
        salt = stretch_salt(registry.stretch_of(request.model, request.options, self._settings))
        row = self._row(request.model, can)
        row["items"] += 1
        row["characters"] += len(request.text)
        row["text_bytes"] += len(request.text.encode())
        for each in spoken:
            text = each.text
            segment = _Distinct(
                row, len(text), len(text.encode()), can.count(text), speech_minutes(text)
            )
            row["segments"] += 1
            row["units"] += segment.units
            if not request.cache:
                _ask_for(segment)
                continue
            asked = request_for(request, each)
            rendering = registry.rendering(
                asked.model,
                text,
                voice=asked.voice,
                language=language_of_job(asked),
                settings=self._settings,
            )
            hash = segment_hash(self._settings.namespace, asked, text, salt, rendering=rendering)
            self._distinct.setdefault(hash, segment)
            self._occurrences[hash] = self._occurrences.get(hash, 0) + 1

    def _speaker(self, request: Request) -> Speaker:
        return speaker_of(request, self._settings)

    def _row(self, model: str, can: Capabilities) -> Row:
        counted = (
            "items", "characters", "text_bytes", "segments", "units", "stored_segments",
            "distinct_segments", "distinct_units", "distinct_characters", "distinct_bytes",
            "distinct_minutes",
        )  # fmt: skip
        new = {"model": model, "unit": can.unit, **dict.fromkeys(counted, 0)}
        return self._rows.setdefault(model, new)

    async def rows(self, store: Store | None) -> list[Row]:
        """Return a row a model, once all requests are added. Raises StoreError."""
        stored = None if store is None else SegmentStore(store, self._settings.namespace)
        distinct = list(self._distinct)
        for first in range(0, len(distinct), MAX_CONCURRENT_LOOKUPS):
            hashes = distinct[first : first + MAX_CONCURRENT_LOOKUPS]
            lookups = (_is_stored(stored, hash) for hash in hashes)
            for hash, is_stored in zip(hashes, await asyncio.gather(*lookups), strict=True):
                segment = self._distinct[hash]
                if is_stored:
                    segment.row["stored_segments"] += self._occurrences[hash]
                else:
                    _ask_for(segment)
        return list(self._rows.values())


async def _is_stored(stored: SegmentStore | None, hash: str) -> bool:
    return stored is not None and await stored.is_stored(hash)


def _ask_for(segment: _Distinct) -> None:
    segment.row["distinct_segments"] += 1
    segment.row["distinct_units"] += segment.units
    segment.row["distinct_characters"] += segment.characters
    segment.row["distinct_bytes"] += segment.text_bytes
    segment.row["distinct_minutes"] += segment.minutes


def choose_language(request: Request, settings: Settings) -> LanguageChoice:
    """Decide the language of a request as a worker does. Raises UnknownModel."""
    of_voice = registry.language_of_voice(request.model, request.voice, settings)
    return language_of(request, of_voice)


def speaker_of(request: Request, settings: Settings) -> Speaker:
    """Tell the speaker of a request as a worker does. Raises UnknownModel."""
    can = registry.capabilities(request.model, settings)
    return Speaker(can, choose_language(request, settings).tag)


def _request(fields: dict[str, Any]) -> Request:
    return Request(
        fields.get("text", ""), fields["model"], fields.get("voice", ""),
        fields.get("options") or {}, segments=fields.get("segments"),
        language=fields.get("language", ""), form=SpokenForm.decode(fields.get("form", "")),
        cache=fields.get("cache", True),
    )  # fmt: skip


def _note(problems: list[dict[str, Any]], fields: dict[str, Any], error: InvalidRequest) -> None:
    if len(problems) < MAX_PROBLEMS:
        line = fields.get("line", "")
        problems.append({"line": line, "code": error.code, "message": error.message})


async def measure_corpus(lines: Iterable[str], settings: Settings) -> dict[str, Any]:
    """Measure all requests. Raises MisconfiguredError, StoreError."""
    measurement = Measurement(settings)
    for line in lines:
        await measurement.add(line)
    store = open_store(settings.store) if settings.store is not None else None
    try:
        return {"models": await measurement.rows(store), "problems": measurement.problems}
    finally:
        if store is not None:
            await store.close()


async def check_requests(lines: Iterable[str], settings: Settings) -> dict[str, Any]:
    """Check model, voice and options of each request. Raises MisconfiguredError."""
    combinations = Combinations(settings)
    problems: list[dict[str, Any]] = []
    for line in lines:
        fields = json.loads(line)
        try:
            await combinations.check(_request(fields))
        except InvalidRequest as error:
            _note(problems, fields, error)
    return {"problems": problems}


async def explain_segments(lines: Iterable[str], settings: Settings) -> dict[str, Any]:
    """Tell how one text will be cut, and why. Raises UnknownModel, UnknownVoice."""
    fields = json.loads(next(iter(lines)))
    request = _request(fields)
    await Combinations(settings).check(request)
    can = registry.capabilities(request.model, settings)
    tag, source = choose_language(request, settings)
    if source is LanguageSource.TEXT:
        tag = language_of_text(request.text)
    segments = spoken_segments(request, lambda own: speaker_of(own, settings))
    return {
        "model": request.model,
        "language": tag,
        "language_from": source,
        "mode": request.segment_mode,
        "limit": can.input_limit,
        "unit": can.unit,
        "characters": len(request.text),
        "segments": [
            {
                "index": segment.index, "start": segment.start, "end": segment.end,
                "paragraph": segment.paragraph, "size": can.weigh(segment.text),
                "billed": can.count(segment.text), "reason": segment.reason,
                "text": segment.text, "pause": segment.pause,
            }
            for segment in segments
        ],
    }  # fmt: skip


COMMANDS = {"corpus": measure_corpus, "check": check_requests, "segments": explain_segments}


def main(arguments: list[str]) -> int:
    """Run one of the commands on stdin; return the exit status."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        sys.stderr.write(f"one of {', '.join(COMMANDS)} is wanted\n")
        return BAD_INPUT
    try:
        answer = asyncio.run(COMMANDS[arguments[0]](sys.stdin, Settings.load()))
    except SpeechFleetError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
