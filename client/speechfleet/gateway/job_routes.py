"""``/jobs``: submit, show, cancel, retry and delete jobs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.formats import AudioFormatName
from speechfleet.dialogue import DialoguePart, join_parts
from speechfleet.errors import InvalidRequest
from speechfleet.gateway.context import CurrentContext, RequestedJob
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.speech_order import (
    FallbackOrder,
    Role,
    check_text,
    checked_options,
    fallback_of,
    message,
    resolve_model,
)
from speechfleet.job import AsyncJob, Status
from speechfleet.keywords import RequestKeywords
from speechfleet.lifecycle import State
from speechfleet.record import Record
from speechfleet.speakable import SpeakableMode
from speechfleet.strict_model import StrictModel

router = APIRouter(prefix="/jobs", tags=["jobs"])


class PartOrder(StrictModel):
    """A part of a dialogue, spoken by a voice of its own."""

    model_config = ConfigDict(extra="forbid")

    text: str
    voice: str = ""


class JobOrder(StrictModel):
    """A text, and how it is to be spoken."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", description="what to say; or parts")
    parts: list[PartOrder] | None = Field(None, description="of a dialogue, instead of a text")
    model: str | None = Field(
        None, description="provider/model, or an alias; none: SPEECHFLEET_DEFAULT_MODEL"
    )
    voice: str = ""
    format: AudioFormatName = "wav"
    lane: Literal["live", "batch"] = "live"
    segments: Literal["sentence", "paragraph"] | None = None
    language: str = Field(
        "", max_length=50, description="a tag such as de, to choose a voice and to cut the text by"
    )
    speakable: SpeakableMode | None = Field(None, description="what of the text is markup")
    lexicon: dict[str, str] | None = Field(None, description="words, and what is spoken for them")
    loudness: float | None = Field(None, description="of the stored audio, in LUFS")
    fallback: list[str | FallbackOrder] | None = Field(
        None, description="who speaks the rest where the provider cannot: provider/model[:voice]"
    )
    live: bool | None = Field(None, description="publish the audio while it is made")
    cache: bool = True
    options: dict[str, JsonValue] = Field(default_factory=dict, description="the provider's own")
    id: str | None = Field(None, description="msg.id; the same order under it is the same job")
    name: str = ""
    role: Role = "assistant"


class FallbackView(BaseModel):
    """A change of voice: from which segment on who speaks, and the error before it."""

    segment: int
    model: str
    voice: str
    code: str


class JobView(BaseModel):
    """The state of a job. Times are Unix seconds; `seconds`: audio made so far."""

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
    spoken_by: list[str] = Field(description="models that spoke it, where not its own alone")
    fallbacks: list[FallbackView] = Field(description="fallback voices that took over")
    suspect: list[int] = Field(description="segments that probably lack text, once aligned")


class SegmentView(BaseModel):
    """Audio in bytes of the job's PCM, text in code points; each [start, end)."""

    index: int
    start: int
    end: int
    text_start: int
    text_end: int
    request_id: str
    model: str
    voice: str


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
    gain: float | None = Field(description="dB, by which the stored audio is louder")
    segments: list[SegmentView]
    transitions: list[TransitionView]


class CancelView(BaseModel):
    """The outcome of a cancellation."""

    cancelled: bool = Field(description="false where the job had ended before")


@router.post("", status_code=201, response_model=JobView)
async def submit(
    order: JobOrder,
    context: CurrentContext,
    idempotency_key: Annotated[str | None, Header(description="the msg.id of the job")] = None,
) -> Response:
    """Enqueue a text. The same order under the same id is the same job."""
    settings = context.settings
    spoken = order.text
    if order.parts is not None:
        if order.text:
            raise InvalidRequest("give a text, or the parts of a dialogue, not both")
        parts: list[DialoguePart] = [
            {"text": part.text, "voice": part.voice} for part in order.parts
        ]
        spoken, _ = join_parts(parts)
    check_text(spoken, settings)
    id = order.id if order.id is not None else idempotency_key
    msg = message(order.text, id, name=order.name, role=order.role)
    model = resolve_model(order.model or settings.default_model, settings.gateway_aliases)
    keywords: RequestKeywords = {
        "options": checked_options(order.options),
        "model": model,
        "voice": order.voice,
        "format": order.format,
        "lane": order.lane,
        "segments": order.segments,
        "language": order.language,
        "speakable": order.speakable,
        "lexicon": order.lexicon,
        "loudness": order.loudness,
        "fallback": fallback_of(order.fallback),
        "live": order.live,
        "cache": order.cache,
    }
    if order.parts is None:
        job = await context.client.submit(msg, **keywords)
    else:
        job = await context.client.submit(parts, id=id, **keywords)
    headers = {"location": f"/jobs/{quote(job.id, safe='')}"}
    return Json(view(await job.status()), 201, headers)


@router.get("/{id}", response_model=JobDetail)
async def job(job: RequestedJob, context: CurrentContext) -> Response:
    """Show all that is known of a job, with its text and its history."""
    record = await job.record()
    status = Status.of(record, await context.client.ledger.workers.waiting(record))
    return Json({**view(status), **await _detail(job, record)})


@router.post("/{id}/cancel", response_model=CancelView)
async def cancel(job: RequestedJob) -> Response:
    """Stop a job. Idempotent."""
    return Json({"cancelled": await job.cancel("cancelled over HTTP")})


@router.post("/{id}/retry", response_model=JobView)
async def retry(job: RequestedJob) -> Response:
    """Start a job that has ended again; 409 where it has not ended."""
    await job.retry()
    return Json(view(await job.status()))


@router.delete("/{id}", status_code=204, response_class=Response)
async def delete(job: RequestedJob) -> Response:
    """Delete record, text, stream and audio. Idempotent; a running job is cancelled first."""
    await job.delete()
    return Response(status_code=204)


def view(status: Status) -> dict[str, Any]:
    """Return a status in the form of `JobView`."""
    fields = asdict(status)
    del fields["object"]  # the key is the store's own matter
    return fields


async def _detail(job: AsyncJob, record: Record) -> dict[str, Any]:
    request = record.request
    rate = record.sample_rate
    segments = await job.segments()
    shown = ("index", "start", "end", "text_start", "text_end", "request_id")
    return {
        "text": request.text,
        "name": request.name,
        "role": request.role,
        "options": dict(request.options),
        "sample_rate": rate,
        "media_type": record.media_type,
        "bytes": record.object_bytes,
        "duration": record.audio / BYTES_PER_SAMPLE / rate if rate else 0.0,
        "gain": record.gain,
        "segments": [
            {name: getattr(segment, name) for name in shown}
            | dict(zip(("model", "voice"), record.speaker_of(segment.index), strict=True))
            for segment in segments
        ],
        "transitions": [
            {"at": at / 1000, "event": event, "detail": detail}
            for at, event, detail in record.history
        ],
    }
