"""``batch --dry-run``: what a corpus would take and cost. Nothing is sent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechfleet.cli import output
from speechfleet.client import AsyncClient
from speechfleet.corpus.item import Item
from speechfleet.corpus.manifest import NAME, Manifest
from speechfleet.corpus.prices import Prices
from speechfleet.corpus.source import Corpus
from speechfleet.errors import MisconfiguredError
from speechfleet.jobs import State
from speechfleet.ledger import Budgets
from speechfleet.local import default_folder
from speechfleet.settings import Settings


@dataclass
class ModelPlan:
    """One model's share. ``units``: as the model counts its input (``unit``); the ``distinct``
    are those of segments that differ and are not stored: what is asked for. ``cost`` None: no
    price is known. ``minutes``: what the limits make of it, those of the settings or that which
    the fleet found (``limits_from``); None where none are known.
    """

    model: str
    items: int = 0
    characters: int = 0
    text_bytes: int = 0
    segments: int = 0
    stored_segments: int = 0
    distinct_segments: int = 0
    units: int = 0
    distinct_units: int = 0
    distinct_characters: int = 0
    unit: str = "characters"
    cost: float | None = None
    currency: str = ""
    price_from: str = ""
    minutes: float | None = None
    limits_from: str = ""


@dataclass
class Plan:
    """Of the whole corpus. ``done``: items that stand in the manifest already."""

    format: str
    items: int = 0
    done: int = 0
    models: list[ModelPlan] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    corpus: Corpus, order: Mapping[str, Any], out: Path | None, settings: Settings, *, files: bool
) -> Plan:
    """Read the corpus, have it cut as a worker would, and price what is left to speak."""
    plan = Plan(corpus.format)
    # What exists is only read: a dry run makes no folder.
    written = None if out is None else out / NAME
    with (
        closing(Manifest(written if written and written.is_file() else None)) as manifest,
        tempfile.TemporaryFile("w+", encoding="utf-8") as left,
    ):
        for item in corpus.items(order, settings.max_text, files=files):
            plan.items += 1
            if _is_done(item, manifest, order, settings):
                plan.done += 1
                continue
            left.write(f"{json.dumps(_line(item, order))}\n")
        left.flush()
        left.seek(0)
        found = _found_rates(settings)
        for share in _cut(left, settings):
            model = _priced(ModelPlan(**share), Prices(settings.prices))
            plan.models.append(_timed(model, settings, found.get(model.model, 0.0)))
    return plan


def print_plan(plan: Plan) -> None:
    output.say(f"{plan.items:,} items, read as {plan.format}; {plan.done:,} are done already")
    output.table(
        ("model", "items", "characters", "segments", "to bill", "at most", "time"),
        [
            (
                each.model, f"{each.items:,}", f"{each.characters:,}",
                (
                    f"{each.segments:,}, {each.stored_segments:,} of them stored, "
                    f"{each.distinct_segments:,} to ask for"
                ),
                f"{each.distinct_units:,} {each.unit}",
                "no price is known" if each.cost is None
                else f"{each.cost:,.2f} {each.currency} ({each.price_from})",
                "no limits are known" if each.minutes is None
                else f"{each.minutes:,.1f} minutes ({each.limits_from})",
            )
            for each in plan.models
        ],
    )  # fmt: skip


def _is_done(item: Item, manifest: Manifest, order: Mapping[str, Any], settings: Settings) -> bool:
    mark = manifest.get(item.id)
    digest = item.request("", order, settings.max_text).digest
    return mark is not None and (mark.digest, mark.state) == (digest, State.SUCCEEDED)


def _line(item: Item, order: Mapping[str, Any]) -> dict[str, Any]:
    request = item.request("", order, sys.maxsize)
    return {
        "text": request.text, "model": request.model, "voice": request.voice,
        "options": dict(request.options), "segments": request.segment_mode,
        "cache": request.cache,
    }  # fmt: skip


def _cut(lines: Any, settings: Settings) -> list[dict[str, Any]]:
    """Cutting belongs to the worker's package, which is not imported here but run."""
    done = subprocess.run(
        [sys.executable, "-m", "speechfleet_worker.measuring"],
        stdin=lines,
        env={**os.environ, **_where_segments_lie(settings)},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"])[-1]
        raise MisconfiguredError(f"the corpus cannot be measured: {last}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _where_segments_lie(settings: Settings) -> dict[str, str]:
    """In the fleet's store; without a fleet, in that of this user's own."""
    folder = default_folder() if settings.redis_url is None else None
    if folder is None or not (folder / "store").is_dir():
        return {}
    return {"SPEECHFLEET_STORE": (folder / "store").as_uri()}


def _priced(plan: ModelPlan, prices: Prices) -> ModelPlan:
    if (price := prices.of(plan.model)) is not None:
        if price.unit == plan.unit:
            plan.cost = plan.distinct_units * price.per_million / 1e6
        else:
            share = plan.text_bytes / plan.characters if plan.characters else 1.0
            size = plan.distinct_characters
            plan.cost = prices.cost(plan.model, size, size * share)
        plan.currency = price.currency
        plan.price_from = " ".join(filter(None, (price.source, price.date))) or "your setting"
    return plan


def _found_rates(settings: Settings) -> dict[str, float]:
    """Requests a minute that the fleet goes by, by model; none where there is no fleet."""

    async def ask() -> dict[str, float]:
        async with AsyncClient(settings) as client:
            return {each.model: each.rate for each in await Budgets(client.connection).all()}

    if settings.redis_url is None or settings.store is None:
        return {}
    return asyncio.run(ask())


def _timed(plan: ModelPlan, settings: Settings, found: float) -> ModelPlan:
    limits = settings.limits_of(plan.model)
    rate = found or limits.requests
    by_requests = plan.distinct_segments / rate if rate else 0.0
    by_units = plan.distinct_units / limits.units if limits.units else 0.0
    if rate or limits.units:
        plan.minutes = max(by_requests, by_units)
        plan.limits_from = "as found" if found and found != limits.requests else "as set"
    return plan
