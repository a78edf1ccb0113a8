"""``/fleet`` and ``/metrics`` for whoever looks, ``/healthz`` and ``/readyz`` for supervisors."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from speechfleet.errors import ObjectMissing, SpeechFleetError
from speechfleet.gateway.failures import Json
from speechfleet.gateway.metrics import exposition
from speechfleet.gateway.state import Gateway, Guest, gateway_of
from speechfleet.ledger.telemetry import Overview

router = APIRouter(tags=["fleet"])
PROBE = "speechfleet-probe/ready"
PROBED_WITHIN = 3.0


@router.get("/fleet")
async def fleet(visit: Guest) -> Response:
    """Workers, lines and what is under way, of all namespaces together."""
    client = visit.client
    return Json(_shown(await client.telemetry.overview(await client.workers())))


@router.get("/metrics", response_class=Response)
async def metrics(visit: Guest) -> Response:
    """Prometheus' text format, of the whole fleet."""
    visit.gateway.metrics.streams.set(visit.gateway.streams.total)
    return Response(
        await exposition(visit.client, visit.gateway.metrics), media_type=CONTENT_TYPE_LATEST
    )


@router.get("/healthz")
async def alive() -> Response:
    """This process answers."""
    return Json({"status": "ok"})


@router.get("/readyz", responses={503: {"description": "Redis or the store is away."}})
async def ready(request: Request) -> Response:
    """It can do its work: 503 while Redis or the object store is away."""
    gateway = gateway_of(request)
    redis, store = await asyncio.gather(_tried(_redis(gateway)), _tried(_store(gateway)))
    status = 200 if redis == store == "ok" else 503
    return Json({"redis": redis, "store": store}, status)


async def _redis(gateway: Gateway) -> None:
    await (await gateway.within(gateway.settings.namespace)).telemetry.catalogue()


async def _store(gateway: Gateway) -> None:
    try:
        await gateway.client.store.head(PROBE)
    except ObjectMissing:
        return  # the store has answered


async def _tried(probe: Any) -> str:
    try:
        async with asyncio.timeout(PROBED_WITHIN):
            await probe
    except TimeoutError:
        return f"no answer within {PROBED_WITHIN:g} s"
    except SpeechFleetError as error:
        return error.message
    return "ok"


def _shown(overview: Overview) -> dict[str, Any]:
    workers = [
        {**asdict(one), "heartbeats": overview.beats.get(one.boot, 0)} for one in overview.workers
    ]
    queues = [
        {
            "queue": line.queue,
            "lane": line.lane,
            "provider": line.provider,
            "waiting": line.waiting,
            "depth": line.depth,
            "oldest": line.oldest,
        }
        for line in overview.lines
    ]
    names = ("unfinished", "delayed", "running", "sessions", "stream_bytes", "time")
    told = {name: getattr(overview, name) for name in names}
    return {"workers": workers, "queues": queues, **told}
