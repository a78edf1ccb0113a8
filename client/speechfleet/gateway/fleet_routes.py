"""``/fleet`` and ``/metrics`` for people, ``/healthz`` and ``/readyz`` for supervisors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from speechfleet.errors import SpeechFleetError
from speechfleet.gateway.context import CurrentContext, Gateway, gateway_of
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.errors import OperatorsOnly
from speechfleet.gateway.metrics import exposition
from speechfleet.gateway.readiness import OK
from speechfleet.ledger.overview import Overview

router = APIRouter(tags=["fleet"])
UNAVAILABLE = "unavailable"
PRIVATE = ("host", "pid", "holding")
"""Fields of a worker that tenants do not see; the ids of its jobs are shown to nobody."""


@router.get("/fleet")
async def fleet(context: CurrentContext) -> Response:
    """Show workers, queues and what is under way, of all namespaces together."""
    client = context.client
    overview = await client.ledger.overview.overview(await client.workers())
    return Json(_shown(overview, is_operator=context.is_operator))


@router.get("/metrics", response_class=Response)
async def metrics(context: CurrentContext) -> Response:
    """Show the whole fleet in Prometheus' text format."""
    if not context.is_operator:
        raise OperatorsOnly("this key sees its namespace alone (SPEECHFLEET_GATEWAY_OPERATORS)")
    context.gateway.metrics.streams.set(context.gateway.streams.total)
    return Response(
        await exposition(context.client, context.gateway.metrics), media_type=CONTENT_TYPE_LATEST
    )


@router.get("/healthz")
async def alive() -> Response:
    """Tell that this process answers."""
    return Json({"status": OK})


@router.get("/readyz", responses={503: {"description": "Redis or the store is away."}})
async def ready(request: Request) -> Response:
    """Tell whether it can do its work: 503 while Redis or the object store is away.

    Why it cannot is told to callers with a key only.
    """
    gateway = gateway_of(request)
    if await _is_known(gateway, request):
        states = await gateway.readiness.probe()
    else:
        states = await gateway.readiness.recent()
        states = {name: OK if state == OK else UNAVAILABLE for name, state in states.items()}
    return Json(states, 200 if set(states.values()) == {OK} else 503)


async def _is_known(gateway: Gateway, request: Request) -> bool:
    try:
        return await gateway.access.find(request.headers) is not None
    except SpeechFleetError:
        return False


def _shown(overview: Overview, *, is_operator: bool) -> dict[str, Any]:
    hidden = {"holding"} if is_operator else set(PRIVATE)
    workers = [
        {name: value for name, value in asdict(worker).items() if name not in hidden}
        | {"heartbeats": overview.heartbeats.get(worker.boot, 0)}
        for worker in overview.workers
    ]
    queues = [
        {
            "queue": queue.queue,
            "lane": queue.lane,
            "provider": queue.provider,
            "waiting": queue.waiting,
            "depth": queue.depth,
            "oldest": queue.oldest,
        }
        for queue in overview.queues
    ]
    names = ("unfinished", "delayed", "running", "sessions", "stream_bytes", "time")
    totals = {name: getattr(overview, name) for name in names}
    return {"workers": workers, "queues": queues, **totals}
