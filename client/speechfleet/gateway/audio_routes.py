"""``GET /jobs/{id}/audio``: streamed while it is made, by ranges once it is stored."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Query, Response

from speechfleet.audio.formats import FORMATS, AudioFormatName
from speechfleet.gateway.context import CurrentContext, RequestContext, RequestedJob
from speechfleet.gateway.encoded_stream import EncodedStream, chained, first_piece
from speechfleet.gateway.routing import is_head
from speechfleet.gateway.stored_audio import stored_audio
from speechfleet.gateway.streaming_response import StreamingAudioResponse, attachment
from speechfleet.job import AsyncJob
from speechfleet.lifecycle import State

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{id}/audio",
    response_class=Response,
    responses={
        200: {
            "description": "The audio.",
            "content": {format.media_type: {} for format in FORMATS.values()},
        },
        206: {"description": "A range of stored audio."},
        307: {"description": "A presigned URL of it, where the gateway is set so."},
        416: {"description": "No byte is in that range."},
    },
)
async def audio(
    job: RequestedJob,
    context: CurrentContext,
    format: Annotated[AudioFormatName | None, Query(description="else the job's own")] = None,
    download: Annotated[bool, Query(description="as a file to be saved")] = False,
) -> Response:
    """Send a job's audio: live and without ranges while it is made, then from the store."""
    record = await job.record()
    chosen = format or record.request.format
    headers = {"x-sample-rate": str(record.sample_rate)} if record.sample_rate else {}
    if download:
        headers |= attachment(f"{job.id[:100]}.{FORMATS[chosen].extension}")
    if record.state is State.SUCCEEDED and chosen == record.request.format:
        return await stored_audio(context, record.object, headers, record.media_type)
    if is_head(context.request.scope):
        return _without_length(headers, FORMATS[chosen].media_type)
    return await _live(context, job, chosen, headers)


def _without_length(headers: dict[str, str], media_type: str) -> Response:
    """Answer a HEAD about audio that is still being made."""
    response = Response(headers=headers, media_type=media_type)
    del response.headers["content-length"]
    return response


async def _live(
    context: RequestContext, job: AsyncJob, format: str, headers: dict[str, str]
) -> Response:
    """Encode the chunks as they come; chunks of a job that has ended come at once."""
    async with AsyncExitStack() as stack:
        stack.enter_context(context.stream())
        await stack.enter_async_context(context.listening(job))
        stream = EncodedStream(job, format, tenant=context.caller.namespace)
        pieces = stream.pieces()
        stack.push_async_callback(pieces.aclose)
        patience = context.settings.gateway_patience
        beginning = await first_piece(pieces, context.client, job, patience)
        rate = stream.sample_rate
        return StreamingAudioResponse(
            chained(beginning, pieces),
            stack.pop_all(),
            media_type=FORMATS[format].media_type_at(rate),
            slow=context.settings.gateway_slow,
            headers={**headers, "x-sample-rate": str(rate), "accept-ranges": "none"},
        )
