"""``/v1/models`` and ``/v1/audio/voices``: what the live workers offer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from speechfleet.client import AsyncClient
from speechfleet.errors import UnknownModel
from speechfleet.gateway.failures import Json
from speechfleet.gateway.orders import resolve
from speechfleet.gateway.state import Guest

router = APIRouter(prefix="/v1", tags=["OpenAI"])
ANY = "..."
"""Stands for a model's name where a provider takes whatever its server knows."""


@router.get("/models")
async def models(visit: Guest) -> Response:
    """Models worth suggesting; those of a provider's server are not listed, and work too."""
    rows = await _offered(visit.client)
    return Json({"object": "list", "data": [_model(row) for row in rows]})


@router.get("/models/{model:path}")
async def model(model: str, visit: Guest) -> Response:
    """One of them. 404 with near matches where there is none."""
    rows = await _offered(visit.client)
    return Json(_model(_find(rows, resolve(model, visit.settings.gateway_aliases))))


@router.get("/audio/voices")
async def voices(
    visit: Guest,
    model: Annotated[str | None, Query(description="of this model; else of all")] = None,
) -> Response:
    """Voices by model. An empty list: the model takes any voice that its server knows."""
    rows = await _offered(visit.client)
    if model is not None:
        rows = [_find(rows, resolve(model, visit.settings.gateway_aliases))]
    listed = [
        {"id": voice, "name": voice, "model": row["model"]}
        for row in rows
        for voice in sorted(row["voices"])
    ]
    answer: dict[str, Any] = {"object": "list", "voices": listed}
    if model is not None:
        answer |= {"model": rows[0]["model"], "default": rows[0]["default_voice"]}
    return Json(answer)


async def _offered(client: AsyncClient) -> list[dict[str, Any]]:
    """Rows of the catalogue whose provider a live worker serves."""
    catalogue = await client.telemetry.catalogue()
    served = {
        provider
        for worker in await client.workers()
        for provider, reason in worker.providers.items()
        if not reason
    }
    return [row for provider in sorted(served & set(catalogue)) for row in catalogue[provider]]


def _find(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The row of a model, or that of its provider where that takes any. Raises UnknownModel."""
    by_name = {row["model"]: row for row in rows}
    provider = name.partition("/")[0]
    if found := by_name.get(name) or by_name.get(f"{provider}/{ANY}"):
        return {**found, "model": name}
    raise UnknownModel(name, by_name)


def _model(row: dict[str, Any]) -> dict[str, Any]:
    provider = row["model"].partition("/")[0]
    told = {"id": row["model"], "object": "model", "created": 0, "owned_by": provider}
    return {**told, "ready": True, "default_voice": row["default_voice"]}
