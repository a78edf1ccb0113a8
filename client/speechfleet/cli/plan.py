"""``batch --dry-run``: what a corpus would take and cost. Nothing is sent."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechfleet.cli import output
from speechfleet.corpus.item import Item
from speechfleet.corpus.manifest import NAME, Manifest
from speechfleet.corpus.prices import Prices
from speechfleet.corpus.source import Corpus
from speechfleet.errors import MisconfiguredError
from speechfleet.jobs import State
from speechfleet.settings import Settings


@dataclass
class ModelPlan:
    """One model's share. ``units``: as the model counts its input (``unit``); the ``distinct``
    are those of segments that differ: what is asked for once. ``cost`` None: no price is known.
    ``minutes``: what the set limits of the account make of it; None where none are set.
    """

    model: str
    items: int = 0
    characters: int = 0
    text_bytes: int = 0
    segments: int = 0
    distinct_segments: int = 0
    units: int = 0
    distinct_units: int = 0
    distinct_characters: int = 0
    unit: str = "characters"
    cost: float | None = None
    currency: str = ""
    price_from: str = ""
    minutes: float | None = None


@dataclass
class Plan:
    """Of the whole corpus. ``done``: items that stand in the manifest already."""

    format: str
    items: int = 0
    done: int = 0
    models: list[ModelPlan] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return asdict(self)


def estimate(corpus: Corpus, order: Mapping[str, Any], out: Path, settings: Settings) -> Plan:
    """Read the corpus, have it cut as a worker would, and price what is left to speak."""
    plan = Plan(corpus.format)
    # What exists is only read: a dry run makes no folder.
    exists = (out / NAME).is_file()
    with (
        closing(Manifest(out / NAME if exists else None)) as manifest,
        tempfile.TemporaryFile("w+", encoding="utf-8") as left,
    ):
        for item in corpus.items(order, settings.max_text):
            plan.items += 1
            if _is_done(item, manifest, order, settings):
                plan.done += 1
                continue
            left.write(f"{json.dumps(_line(item, order))}\n")
        left.flush()
        left.seek(0)
        plan.models = [_priced(ModelPlan(**share), settings) for share in _cut(left)]
    return plan


def print_plan(plan: Plan) -> None:
    output.say(f"{plan.items:,} items, read as {plan.format}; {plan.done:,} are done already")
    output.table(
        ("model", "items", "characters", "segments", "to bill", "at most", "time"),
        [
            (
                each.model, f"{each.items:,}", f"{each.characters:,}",
                f"{each.segments:,}, {each.distinct_segments:,} of them distinct",
                f"{each.distinct_units:,} {each.unit}",
                "no price is set" if each.cost is None
                else f"{each.cost:,.2f} {each.currency} ({each.price_from})",
                "no limits are set" if each.minutes is None else f"{each.minutes:,.1f} minutes",
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
    }  # fmt: skip


def _cut(lines: Any) -> list[dict[str, Any]]:
    """Cutting belongs to the worker's package, which is not imported here but run."""
    done = subprocess.run(
        [sys.executable, "-m", "speechfleet_worker.measuring"],
        stdin=lines,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"])[-1]
        raise MisconfiguredError(f"the corpus cannot be measured: {last}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _priced(plan: ModelPlan, settings: Settings) -> ModelPlan:
    prices = Prices(settings.prices)
    if (price := prices.of(plan.model)) is not None:
        if price.unit == plan.unit:
            plan.cost = plan.distinct_units * price.per_million / 1e6
        else:
            share = plan.text_bytes / plan.characters if plan.characters else 1.0
            size = plan.distinct_characters
            plan.cost = prices.cost(plan.model, size, size * share)
        plan.currency = price.currency
        plan.price_from = " ".join(filter(None, (price.source, price.date))) or "your setting"
    limits = settings.limits_of(plan.model)
    by_requests = plan.distinct_segments / limits.requests if limits.requests else 0.0
    by_units = plan.distinct_units / limits.units if limits.units else 0.0
    plan.minutes = max(by_requests, by_units) or None
    return plan
