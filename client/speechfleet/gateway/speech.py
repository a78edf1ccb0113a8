"""``POST /v1/audio/speech``, as OpenAI has it."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import Response

from speechfleet.audio import FORMATS
from speechfleet.errors import SpeechFleetError
from speechfleet.gateway.failures import error_body
from speechfleet.gateway.flow import Flow, left
from speechfleet.gateway.listening import OPENAI_RATE, Encoding, first, resumed
from speechfleet.gateway.orders import Format, check_text, checked_options, message, resolve
from speechfleet.gateway.state import Guest, Visit
from speechfleet.job import AsyncJob
from speechfleet.settings import Settings

router = APIRouter(tags=["OpenAI"])
CLIENT_LEFT = 499


class VoiceId(BaseModel):
    id: str


class SpeechOrder(BaseModel):
    """OpenAI's fields; whatever else there is, is the provider's own option of that name."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    model: str = Field(description="provider/model, an alias, or the bare name of OpenAI's")
    input: str
    voice: str | VoiceId = ""
    instructions: str | None = None
    response_format: Format = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"

    def order(self, settings: Settings) -> dict[str, Any]:
        """The keywords of `AsyncClient.submit`."""
        options: dict[str, Any] = checked_options(self.__pydantic_extra__ or {})
        if self.instructions:
            options["instructions"] = self.instructions
        if self.speed != 1.0:
            options["speed"] = self.speed
        return {
            **options,
            "model": resolve(self.model, settings.gateway_aliases),
            "voice": self.voice.id if isinstance(self.voice, VoiceId) else self.voice,
            "format": self.response_format,
            "lane": "live",
        }


_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The audio, as it is made; or events where `stream_format` is `sse`.",
        "content": {
            **{format.media_type: _AUDIO for format in FORMATS.values()},
            "text/event-stream": {},
        },
    }
}


@router.post("/v1/audio/speech", response_class=Response, responses=_ANSWERS)
async def speech(
    order: SpeechOrder,
    visit: Guest,
    idempotency_key: Annotated[str | None, Header(description="the msg.id of the job")] = None,
) -> Response:
    """Speak a text. The bytes flow as they are made; ``X-Job-Id`` names the job."""
    began = time.monotonic()
    check_text(order.input, visit.settings)
    msg = message(order.input, idempotency_key)
    async with AsyncExitStack() as stack:
        stack.enter_context(visit.stream())
        job = await visit.client.submit(msg, **order.order(visit.settings))
        await stack.enter_async_context(visit.listening(job, only_for_it=idempotency_key is None))
        rate = OPENAI_RATE if order.response_format == "pcm" else None
        pieces = Encoding(job, order.response_format, rate).pieces()
        stack.push_async_callback(pieces.aclose)
        beginning = await _beginning(visit, job, pieces)
        if beginning is None:
            return Response(status_code=CLIENT_LEFT)
        visit.gateway.metrics.first_byte.observe(time.monotonic() - began)
        flow = resumed(beginning, pieces)
        media_type = FORMATS[order.response_format].media_type
        if order.stream_format == "sse":
            flow, media_type = _events(flow, job), "text/event-stream"
        return Flow(
            flow,
            stack.pop_all(),
            media_type=media_type,
            slow=visit.settings.gateway_slow,
            headers={"x-job-id": job.id.encode("ascii", "backslashreplace").decode()},
        )


async def _beginning(
    visit: Visit, job: AsyncJob, pieces: AsyncGenerator[bytes, None]
) -> bytes | None:
    """The first bytes; None where the client left before there were any.

    Nothing is answered before, so that what goes wrong by then has its own status.
    """
    patience = visit.settings.gateway_patience
    coming = asyncio.create_task(first(pieces, visit.client, job, patience))
    leaving = asyncio.create_task(left(visit.request.receive))
    try:
        await asyncio.wait({coming, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        leaving.cancel()
        await asyncio.gather(coming, leaving, return_exceptions=True)


async def _events(
    pieces: AsyncGenerator[bytes, None], job: AsyncJob
) -> AsyncGenerator[bytes, None]:
    """OpenAI's events: deltas, and at the end what it cost."""
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                audio = b64encode(piece).decode("ascii")
                yield _event({"type": "speech.audio.delta", "audio": audio})
        usage = (await job.record()).usage
        tokens = [int(usage.get(kind, 0)) for kind in ("tokens_in", "tokens_out")]
        told = dict(zip(("input_tokens", "output_tokens"), tokens, strict=True))
        done = {"type": "speech.audio.done", "usage": {**told, "total_tokens": sum(tokens)}}
        yield _event(done)
    except SpeechFleetError as error:
        yield _event({"type": "error", **error_body(error)})


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
