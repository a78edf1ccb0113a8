"""``/jobs/{id}/takes``: speak single segments again, and choose among their takes."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from speechfleet.gateway.context import RequestedJob
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.speech_order import checked_options
from speechfleet.strict_model import StrictModel

router = APIRouter(prefix="/jobs", tags=["jobs"])


class TakeOrder(StrictModel):
    """A segment that is to be spoken again, and how."""

    model_config = ConfigDict(extra="forbid")

    segment: int = Field(ge=0, description="from 0")
    voice: str = Field("", description="empty: as submitted")
    text: str = Field("", description="spoken instead; empty: as submitted")
    seed: int | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict, description="the provider's own")


class Choice(StrictModel):
    """The number of the take that is to be heard."""

    model_config = ConfigDict(extra="forbid")

    take: int = Field(ge=0, description="0 is the first one")


class TakeView(BaseModel):
    """A take of a segment; voice and text are empty where they are as submitted."""

    segment: int
    number: int
    chosen: bool
    voice: str
    text: str
    options: dict[str, JsonValue]


class TakeList(BaseModel):
    takes: list[TakeView]


@router.get("/{id}/takes", response_model=TakeList)
async def takes(job: RequestedJob) -> Response:
    """List the takes of the segments that were spoken again."""
    return await _listed(job)


@router.post("/{id}/takes", status_code=201, response_model=TakeList)
async def respeak(job: RequestedJob, order: TakeOrder) -> Response:
    """Speak one segment of an ended job again, in a new epoch; 409 where it has not ended."""
    await job.respeak(
        order.segment, voice=order.voice, text=order.text, seed=order.seed,
        options=checked_options(order.options),
    )  # fmt: skip
    return await _listed(job, 201)


@router.put("/{id}/takes/{segment}", response_model=TakeList)
async def choose(job: RequestedJob, segment: int, choice: Choice) -> Response:
    """Choose the take of a segment that is heard; it costs no call. Idempotent."""
    await job.choose(segment, choice.take)
    return await _listed(job)


async def _listed(job: RequestedJob, status: int = 200) -> Response:
    return Json({"takes": [asdict(take) for take in await job.takes()]}, status)
