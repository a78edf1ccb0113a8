"""``POST /v1/audio/speech``, as OpenAI has it."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.responses import Response

from speechfleet.audio.codecs import check_format
from speechfleet.audio.formats import FORMATS
from speechfleet.errors import EmptyText, JobFailed, SpeechFleetError
from speechfleet.gateway.context import CurrentContext, RequestContext
from speechfleet.gateway.encoded_stream import (
    OPENAI_RATE,
    EncodedStream,
    chained,
    first_piece,
    silence,
)
from speechfleet.gateway.error_responses import body_of
from speechfleet.gateway.speech_order import SpeechOrder, check_text, message, resolve_model
from speechfleet.gateway.streaming_response import StreamingAudioResponse, disconnected
from speechfleet.job import AsyncJob

router = APIRouter(tags=["OpenAI"])
CLIENT_LEFT = 499
_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The audio, while it is made; or events where `stream_format` is `sse`.",
        "content": {
            **{format.media_type: _AUDIO for format in FORMATS.values()},
            "text/event-stream": {},
        },
    }
}


@router.post("/v1/audio/speech", response_class=Response, responses=_ANSWERS)
async def speech(
    order: SpeechOrder,
    context: CurrentContext,
    idempotency_key: Annotated[str | None, Header(description="the msg.id of the job")] = None,
) -> Response:
    """Speak a text. The audio is sent while it is made; ``X-Job-Id`` names the job."""
    began = time.monotonic()
    check_text(order.input, context.settings)
    check_format(order.format)  # before a job is paid whose audio could not be sent
    msg = message(order.input, idempotency_key)
    name = resolve_model(order.model, context.settings.gateway_aliases)
    model = (await context.models()).describe(name)
    async with AsyncExitStack() as stack:
        stack.enter_context(context.stream())
        job = await context.client.submit(msg, **order.keywords(model, context.settings))
        await stack.enter_async_context(context.listening(job, is_private=idempotency_key is None))
        rate = OPENAI_RATE if order.format == "pcm" else None
        stream = EncodedStream(job, order.format, rate, tenant=context.caller.namespace)
        pieces = stream.pieces()
        stack.push_async_callback(pieces.aclose)
        beginning = await _beginning(context, job, pieces, order.format)
        if beginning is None:
            return Response(status_code=CLIENT_LEFT)
        context.gateway.metrics.first_byte.observe(time.monotonic() - began)
        output = chained(beginning, pieces)
        media_type = FORMATS[order.format].media_type
        if order.stream_format == "sse":
            output, media_type = _events(output, job), "text/event-stream"
        return StreamingAudioResponse(
            output,
            stack.pop_all(),
            media_type=media_type,
            slow=context.settings.gateway_slow,
            headers={"x-job-id": job.id.encode("ascii", "backslashreplace").decode()},
        )


async def _beginning(
    context: RequestContext, job: AsyncJob, pieces: AsyncGenerator[bytes, None], format: str
) -> bytes | None:
    """Return the first bytes; None where the client left before there were any.

    Nothing is answered before, so that what goes wrong by then has its own status. A text
    without anything to speak ("...", an emoji) is a moment of silence: clients that speak an
    answer sentence by sentence send such pieces, and an error would end their speech.
    """
    patience = context.settings.gateway_patience
    coming = asyncio.create_task(first_piece(pieces, context.client, job, patience))
    leaving = asyncio.create_task(disconnected(context.request.receive))
    try:
        await asyncio.wait({coming, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    except JobFailed as error:
        if error.code != EmptyText.code:
            raise
        return await silence(format)
    finally:
        coming.cancel()
        leaving.cancel()
        await asyncio.gather(coming, leaving, return_exceptions=True)


async def _events(
    pieces: AsyncGenerator[bytes, None], job: AsyncJob
) -> AsyncGenerator[bytes, None]:
    """Yield OpenAI's events: deltas, and at the end the usage.

    OpenAI has no event for a failure, so an answer that fails also breaks off: a client that
    skips the event ``error`` must not take the part for the whole.
    """
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                audio = b64encode(piece).decode("ascii")
                yield _event({"type": "speech.audio.delta", "audio": audio})
        usage = (await job.record()).usage
        tokens = [int(usage.get(kind, 0)) for kind in ("tokens_in", "tokens_out")]
        by_kind = dict(zip(("input_tokens", "output_tokens"), tokens, strict=True))
        done = {"type": "speech.audio.done", "usage": {**by_kind, "total_tokens": sum(tokens)}}
        yield _event(done)
    except SpeechFleetError as error:
        yield _event({"type": "error", **body_of(error)})
        raise


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
