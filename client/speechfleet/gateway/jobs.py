"""``/jobs``: submit, list, look, cancel, retry, erase."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from speechfleet.gateway.failures import Json
from speechfleet.gateway.orders import (
    Format,
    Role,
    check_text,
    checked_options,
    message,
    resolve,
)
from speechfleet.gateway.state import Guest, Job
from speechfleet.job import AsyncJob, Status
from speechfleet.jobs import Record, State
from speechfleet.tts import BYTES_PER_SAMPLE

router = APIRouter(prefix="/jobs", tags=["jobs"])
DEEPEST = 100_000
"""How far back a list goes."""


class JobOrder(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    text: str
    model: str = Field(description="provider/model, or an alias")
    voice: str = ""
    format: Format = "wav"
    lane: Literal["live", "batch"] = "live"
    segments: Literal["sentence", "paragraph"] | None = None
    live: bool | None = Field(None, description="publish the audio while it is made")
    cache: bool = True
    options: dict[str, JsonValue] = Field(default_factory=dict, description="the provider's own")
    id: str | None = Field(None, description="msg.id; the same order under it is the same job")
    name: str = ""
    role: Role = "assistant"


class JobView(BaseModel):
    """A job at this moment. Times are Unix seconds; `seconds`: audio made so far."""

    id: str
    state: State
    waiting: str
    model: str
    voice: str
    lane: str
    format: str
    epoch: int
    attempts: int
    losses: int
    worker: str
    seconds: float
    created: float
    updated: float
    code: str
    message: str
    usage: dict[str, float]


class SegmentView(BaseModel):
    """Audio in bytes of the job's PCM, text in code points; each [start, end)."""

    index: int
    start: int
    end: int
    text_start: int
    text_end: int
    request_id: str


class TransitionView(BaseModel):
    at: float
    event: str
    detail: str


class JobDetail(JobView):
    text: str
    name: str
    role: str
    options: dict[str, JsonValue]
    sample_rate: int
    media_type: str
    bytes: int
    duration: float
    segments: list[SegmentView]
    transitions: list[TransitionView]


class JobList(BaseModel):
    jobs: list[JobView]
    counts: dict[State, int]
    offset: int
    count: int


class CancelView(BaseModel):
    cancelled: bool = Field(description="false where the job had ended before")


@router.post("", status_code=201, response_model=JobView)
async def submit(
    order: JobOrder,
    visit: Guest,
    idempotency_key: Annotated[str | None, Header(description="the msg.id of the job")] = None,
) -> Response:
    """Enqueue a text. The same order under the same id is the same job."""
    check_text(order.text, visit.settings)
    id = order.id if order.id is not None else idempotency_key
    msg = message(order.text, id, name=order.name, role=order.role)
    keywords = checked_options(order.options) | {
        "model": resolve(order.model, visit.settings.gateway_aliases),
        "voice": order.voice,
        "format": order.format,
        "lane": order.lane,
        "segments": order.segments,
        "live": order.live,
        "cache": order.cache,
    }
    job = await visit.client.submit(msg, **keywords)
    headers = {"location": f"/jobs/{quote(job.id, safe='')}"}
    return Json(view(await job.status()), 201, headers)


@router.get("", response_model=JobList)
async def jobs(
    visit: Guest,
    state: Annotated[list[State] | None, Query(description="of these; none: of all")] = None,
    offset: Annotated[int, Query(ge=0, le=DEEPEST)] = 0,
    count: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Jobs of the key's namespace, those that changed last first."""
    states = list(dict.fromkeys(state or State))
    # Each state has an index of its own: a page of several is cut from the first pages of each.
    only = len(states) == 1
    found = await visit.client.jobs(
        states, offset=offset if only else 0, count=count if only else offset + count
    )
    if not only:
        found = sorted(found, key=lambda status: -status.updated)[offset : offset + count]
    counts = await visit.client.counts()
    page = {"jobs": [view(status) for status in found], "counts": counts}
    return Json({**page, "offset": offset, "count": count})


@router.get("/{id}", response_model=JobDetail)
async def job(job: Job, visit: Guest) -> Response:
    """All that is known of a job, with its text and its story."""
    record = await job.record()
    status = Status.of(record, await visit.client.waiting(record))
    return Json({**view(status), **await _detail(job, record)})


@router.post("/{id}/cancel", response_model=CancelView)
async def cancel(job: Job) -> Response:
    """Stop it at any moment. Idempotent."""
    return Json({"cancelled": await job.cancel("cancelled over HTTP")})


@router.post("/{id}/retry", response_model=JobView)
async def retry(job: Job) -> Response:
    """Begin again what has ended; 409 where it has not."""
    await job.retry()
    return Json(view(await job.status()))


@router.delete("/{id}", status_code=204, response_class=Response)
async def delete(job: Job) -> Response:
    """Erase record, text, stream and audio. Idempotent; one that runs is cancelled first."""
    await job.delete()
    return Response(status_code=204)


def view(status: Status) -> dict[str, Any]:
    """As `JobView`."""
    told = asdict(status)
    del told["object"]
    return told


async def _detail(job: AsyncJob, record: Record) -> dict[str, Any]:
    request, fields = record.request, record.fields
    rate = record.sample_rate
    segments = await job.segments()
    shown = ("index", "start", "end", "text_start", "text_end", "request_id")
    return {
        "text": request.text,
        "name": request.name,
        "role": request.role,
        "options": dict(request.options),
        "sample_rate": rate,
        "media_type": fields.get("media_type", ""),
        "bytes": int(fields.get("bytes", "0")),
        "duration": record.audio / BYTES_PER_SAMPLE / rate if rate else 0.0,
        "segments": [{name: getattr(one, name) for name in shown} for one in segments],
        "transitions": [
            {"at": at / 1000, "event": event, "detail": detail}
            for at, event, detail in record.story
        ],
    }
