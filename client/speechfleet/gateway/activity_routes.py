"""``/activity`` and ``/usage``: jobs of a namespace now and in the last hour, and their costs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from speechfleet.batch.pricing import PriceList
from speechfleet.client import AsyncClient
from speechfleet.gateway.context import CurrentContext
from speechfleet.gateway.error_responses import Json
from speechfleet.ledger.activity import Minute, Waits
from speechfleet.lifecycle import State

router = APIRouter(tags=["fleet"])
MOST_DAYS = 92


class WaitsView(BaseModel):
    """Seconds that jobs waited for their first audio: half of them at most `p50`."""

    count: int
    p50: float | None
    p95: float | None


class MinuteView(BaseModel):
    """The jobs that ended in a minute, and the seconds of speech that they made."""

    at: float
    succeeded: int
    failed: int
    cancelled: int
    seconds: float
    first_audio: dict[str, WaitsView] = Field(description="by lane")


class DayView(BaseModel):
    """The usage of a day (UTC) by model; the cost of one is null where its price is not known."""

    day: date
    models: dict[str, dict[str, float | None]]
    costs: dict[str, float] = Field(description="of all models together, by currency")
    unpriced: list[str] = Field(description="models without a known price")


class ActivityView(BaseModel):
    """The jobs of a namespace now; `oldest`: seconds that the oldest queued job has waited."""

    time: float
    counts: dict[State, int]
    oldest: float | None
    minutes: list[MinuteView] = Field(description="the last hour, the current minute last")
    hour: MinuteView = Field(description="all of them together")
    today: DayView


class UsageView(BaseModel):
    """Usage by day, today first."""

    days: list[DayView]


@router.get("/activity", response_model=ActivityView)
async def activity(context: CurrentContext) -> Response:
    """Show what the jobs of the key's namespace do now, and did in the last hour."""
    client = context.client
    now = await client.ledger.activities.of(client.namespace)
    return Json(
        {
            "time": now.time,
            "counts": await client.counts(),
            "oldest": now.oldest,
            "minutes": [_minute([minute]) for minute in now.minutes],
            "hour": _minute(now.minutes),
            "today": await _day(client, datetime.now(UTC).date()),
        }
    )


@router.get("/usage", response_model=UsageView)
async def usage(
    context: CurrentContext, days: Annotated[int, Query(ge=1, le=MOST_DAYS)] = 7
) -> Response:
    """Sum up what the key's namespace has used, by day (UTC) and model, with estimated costs."""
    today = datetime.now(UTC).date()
    wanted = [today - timedelta(days=back) for back in range(days)]
    return Json({"days": [await _day(context.client, day) for day in wanted]})


def _minute(minutes: list[Minute]) -> dict[str, Any]:
    lanes = sorted({lane for minute in minutes for lane in minute.first_audio})
    waits = {
        lane: Waits.together(m.first_audio[lane] for m in minutes if lane in m.first_audio)
        for lane in lanes
    }
    return {
        "at": minutes[0].at,
        "succeeded": sum(minute.succeeded for minute in minutes),
        "failed": sum(minute.failed for minute in minutes),
        "cancelled": sum(minute.cancelled for minute in minutes),
        "seconds": sum(minute.seconds for minute in minutes),
        "first_audio": {lane: _waits(each) for lane, each in waits.items()},
    }


def _waits(waits: Waits) -> dict[str, Any]:
    return {"count": waits.count, "p50": waits.quantile(0.5), "p95": waits.quantile(0.95)}


async def _day(client: AsyncClient, day: date) -> dict[str, Any]:
    prices = PriceList(client.settings.prices)
    models: dict[str, dict[str, float | None]] = {}
    costs: dict[str, float] = {}
    for model, sums in sorted((await client.usage(day)).items()):
        cost, price = prices.cost(model, sums.get("billed", 0)), prices.of(model)
        models[model] = {**sums, "cost": cost}
        if cost is not None and price is not None:
            costs[price.currency] = costs.get(price.currency, 0.0) + cost
    unpriced = [model for model, sums in models.items() if sums["cost"] is None]
    return {"day": day.isoformat(), "models": models, "costs": costs, "unpriced": unpriced}
