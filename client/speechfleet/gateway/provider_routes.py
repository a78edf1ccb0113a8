"""``/fleet/providers``: the providers that workers have, and the rate limits that were found."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from speechfleet.client import AsyncClient
from speechfleet.gateway.context import CurrentContext
from speechfleet.gateway.error_responses import Json
from speechfleet.ledger import RateLimit

router = APIRouter(prefix="/fleet", tags=["fleet"])


class LimitView(BaseModel):
    """The rate limit of a model: requests a minute, and what it made of late."""

    model: str
    rate: float = Field(description="requests a minute; 0: not known yet")
    found: bool = Field(description="found by asking; else set")
    refused: int
    paused: float = Field(description="seconds until the provider is asked again")
    waiting: dict[str, int] = Field(description="jobs that wait for room in it, by lane")


class ProviderView(BaseModel):
    """A provider as the live workers have it."""

    name: str
    workers: int = Field(description="workers that serve it")
    missing: str = Field(description="why none does; empty where one does")
    models: list[str]
    limits: list[LimitView]


class ProviderList(BaseModel):
    providers: list[ProviderView]


@router.get("/providers", response_model=ProviderList)
async def providers(context: CurrentContext) -> Response:
    """List the providers of the fleet, with their models and rate limits."""
    client = context.client
    serving: dict[str, int] = {}
    missing: dict[str, str] = {}
    for worker in await client.workers():
        for name, reason in worker.providers.items():
            serving[name] = serving.get(name, 0) + (not reason)
            missing.setdefault(name, reason)
    catalogue = await client.ledger.overview.catalogue()
    models = {row["model"] for rows in catalogue.values() for row in rows}
    limits: dict[str, list[RateLimit]] = {}
    for limit in await _limits(client, models):
        limits.setdefault(limit.model.partition("/")[0], []).append(limit)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "workers": serving.get(name, 0),
            "missing": "" if serving.get(name) else missing.get(name, "no worker has it now"),
            "models": sorted(row["model"] for row in catalogue.get(name, ())),
            "limits": [asdict(limit) for limit in limits.get(name, ())],
        }
        for name in sorted({*serving, *limits})
    ]
    return Json({"providers": rows})


async def _limits(client: AsyncClient, offered: set[str]) -> list[RateLimit]:
    """Return the limits of models that are offered, set, or were used today, where one is known.

    They are asked for by name: a search for all of them would read every key of Redis.
    """
    used = await client.usage()
    models = {*offered, *used, *(model for model in client.settings.limits if "/" in model)}
    found = await asyncio.gather(*map(client.ledger.rate_limiter.of, sorted(models)))
    return [limit for limit in found if limit.rate or limit.refused or limit.paused]
