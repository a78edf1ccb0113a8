"""``/v1/models``, ``/v1/audio/models`` and ``/v1/audio/voices``: what live workers offer."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Query, Response

from speechfleet.gateway.context import CurrentContext
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.offered_models import ModelInfo, OfferedModels
from speechfleet.gateway.speech_order import resolve_model

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.get("/models")
async def models(context: CurrentContext) -> Response:
    """List models by name, the default one first.

    ``open_providers`` take models that are not listed as well.
    """
    offered = await context.models()
    data = _listed(offered, context.settings.default_model)
    return Json({"object": "list", "data": data, "open_providers": offered.open_providers})


@router.get("/audio/models")
async def audio_models(context: CurrentContext) -> Response:
    """List the same models under both names that clients look for (Open WebUI: ``models``)."""
    data = _listed(await context.models(), context.settings.default_model)
    return Json({"object": "list", "data": data, "models": data})


@router.get("/models/{model:path}")
async def model(model: str, context: CurrentContext) -> Response:
    """Describe one model. 404 with near matches where there is none."""
    name = resolve_model(unquote(model), context.settings.gateway_aliases)
    return Json(_model((await context.models()).get(name)))


@router.get("/audio/voices")
async def voices(
    context: CurrentContext,
    model: Annotated[str | None, Query(description="of this model; else of all")] = None,
) -> Response:
    """List voices by model, under both names that clients look for.

    An empty list: the model takes any voice that its server knows.
    """
    offered = await context.models()
    if model is None:
        return Json(_voice_list(offered.listed))
    described = offered.get(resolve_model(model, context.settings.gateway_aliases))
    fields = {"model": described.name, "default": described.default_voice}
    return Json({**_voice_list([described]), **fields})


def _voice_list(models: list[ModelInfo]) -> dict[str, Any]:
    voices = [
        {"id": voice, "name": voice, "model": model.name}
        for model in models
        for voice in model.voices
    ]
    return {"object": "list", "data": voices, "voices": voices}


def _listed(offered: OfferedModels, first: str) -> list[dict[str, Any]]:
    models = sorted(offered.listed, key=lambda model: model.name != first)
    return [_model(model) for model in models]


def _model(model: ModelInfo) -> dict[str, Any]:
    named = {"id": model.name, "object": "model", "created": 0, "owned_by": model.provider}
    return {**named, "name": model.name, "ready": True, "default_voice": model.default_voice}
