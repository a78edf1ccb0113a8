"""Estimates for ``batch --dry-run``: segments, units, money and time. Nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechfleet.batch.manifest import NAME, Manifest
from speechfleet.batch.pricing import PriceList
from speechfleet.cli import output
from speechfleet.cli.batch.precheck import Precheck
from speechfleet.cli.measure_process import line_of, measure
from speechfleet.client import AsyncClient
from speechfleet.corpus.corpus import Corpus
from speechfleet.corpus.item import Item
from speechfleet.ledger.rate_limits import FIRST_RATE
from speechfleet.lifecycle import State
from speechfleet.model_shutdowns import shutdown_warning
from speechfleet.provider_options import ON_THE_WORKER
from speechfleet.request import Request
from speechfleet.settings import Settings


@dataclass
class ModelPlan:
    """The share of one model in a corpus.

    ``units``: as the provider bills (``unit``). ``distinct_*``: of segments that differ and are
    not stored, which are what is asked for. ``cost``: None where no price is known.
    ``minutes``: by the rate limits; None where none are known. ``limits_from``: "as set" in
    SPEECHFLEET_LIMITS, "as found" by the fleet, or "" with ``starting_rate``, the calls a minute
    with which the search for an unknown limit starts.
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
    distinct_bytes: int = 0
    distinct_minutes: float = 0.0
    unit: str = "characters"
    cost: float | None = None
    currency: str = ""
    price_from: str = ""
    minutes: float | None = None
    limits_from: str = ""
    starting_rate: int = 0
    shutdown: str = ""
    """A warning where the provider closes the model."""


@dataclass
class Plan:
    """The estimate of a whole corpus. ``done``: items that the manifest has already."""

    format: str
    items: int = 0
    done: int = 0
    models: list[ModelPlan] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the plan for ``--json``."""
        return asdict(self)


def estimate(corpus: Corpus, check: Precheck, out: Path | None, *, files: bool) -> Plan:
    """Read the corpus, have it cut as a worker would, and price what is left to speak."""
    plan, settings = Plan(corpus.format), check.settings
    # What exists is only read: a dry run makes no folder.
    written = None if out is None else out / NAME
    with closing(Manifest(written if written and written.is_file() else None)) as manifest:
        items = corpus.items(check.order, settings.max_text, files=files)
        answer = measure("corpus", _left(items, plan, manifest, check), settings)
    found = _found_rates(settings)
    prices = PriceList(settings.prices)
    for row in answer["models"]:
        model = _price(ModelPlan(**row), prices)
        model.shutdown = shutdown_warning(model.model)
        plan.models.append(_estimate_time(model, settings, found.get(model.model, 0.0)))
    return plan


def _left(
    items: Iterator[Item], plan: Plan, manifest: Manifest, check: Precheck
) -> Iterator[Mapping[str, Any]]:
    """Count the items in ``plan``; yield those that are left to speak."""
    for item in check.good(items):
        plan.items += 1
        request = check.request(item)
        if _is_done(item, request, manifest):
            plan.done += 1
        else:
            yield line_of(request, item.place)


def _is_done(item: Item, request: Request, manifest: Manifest) -> bool:
    entry = manifest.get(item.id)
    return entry is not None and (entry.digest, entry.state) == (request.digest, State.SUCCEEDED)


def print_plan(plan: Plan) -> None:
    """Print the plan as a table."""
    output.say(f"{plan.items:,} items, read as {plan.format}; {plan.done:,} are done already")
    output.table(
        ("model", "items", "characters", "segments", "to bill", "at most", "time"),
        [
            (
                model.model, f"{model.items:,}", f"{model.characters:,}", _segments(model),
                f"{model.distinct_units:,} {model.unit}", _cost(model), _time(model),
            )
            for model in plan.models
        ],
        folds=4,
    )  # fmt: skip
    for model in plan.models:
        if model.shutdown:
            output.tell(f"warning: {model.shutdown}")


def _segments(model: ModelPlan) -> str:
    return (
        f"{model.segments:,}, {model.stored_segments:,} of them stored, "
        f"{model.distinct_segments:,} to ask for"
    )


def _cost(model: ModelPlan) -> str:
    if model.cost is None:
        return "no price is known"
    return f"{model.cost:,.2f} {model.currency} ({model.price_from})"


def _time(model: ModelPlan) -> str:
    if model.minutes is not None:
        return f"{model.minutes:,.1f} minutes (rate limit {model.limits_from})"
    if model.starting_rate:
        return f"rate limit not known yet (starts at {model.starting_rate}/min)"
    return "no rate limit"


def _price(plan: ModelPlan, prices: PriceList) -> ModelPlan:
    """Fill in the cost: by the billed units where the price is by them, else by the text."""
    price = prices.of(plan.model)
    if price is None:
        return plan
    if price.unit == plan.unit:
        plan.cost = plan.distinct_units * price.per_million / 1e6
    else:
        plan.cost = prices.cost(
            plan.model, plan.distinct_characters, plan.distinct_bytes, plan.distinct_minutes
        )
    plan.currency = price.currency
    plan.price_from = " ".join(filter(None, (price.source, price.date))) or "your setting"
    return plan


def _found_rates(settings: Settings) -> dict[str, float]:
    """Ask the fleet for the calls a minute that it found, by model; {} where there is none."""

    async def ask() -> dict[str, float]:
        async with AsyncClient(settings) as client:
            limits = await client.ledger.rate_limiter.all()
            return {
                limit.model: limit.rate
                for limit in limits
                if limit.found and (limit.refused or limit.rate != FIRST_RATE)
            }

    if settings.redis_url is None or settings.store is None:
        return {}
    return asyncio.run(ask())


def _estimate_time(plan: ModelPlan, settings: Settings, found: float) -> ModelPlan:
    """Fill in the minutes: the limits of the settings go before what the fleet found."""
    limits = settings.limits_of(plan.model)
    rate = limits.requests or found
    by_requests = plan.distinct_segments / rate if rate else 0.0
    by_units = plan.distinct_units / limits.units if limits.units else 0.0
    if rate or limits.units:
        plan.minutes = max(by_requests, by_units)
        plan.limits_from = "as set" if limits.requests or limits.units else "as found"
    elif plan.model.partition("/")[0] not in ON_THE_WORKER:
        plan.starting_rate = FIRST_RATE
    return plan
