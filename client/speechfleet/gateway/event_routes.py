"""``GET /jobs/{id}/events``: the chunk stream as server-sent events."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from speechfleet.chunks import AudioEntry, Entry, WordsEntry
from speechfleet.gateway.context import CurrentContext, RequestedJob
from speechfleet.gateway.streaming_response import StreamingAudioResponse
from speechfleet.job import AsyncJob

router = APIRouter(prefix="/jobs", tags=["jobs"])
PING_INTERVAL_S = 15.0
PING = b": ping\n\n"
_EVENT_ID = re.compile(r"(\d{1,9})-(\d{1,19}(-\d{1,19})?)")


@router.get(
    "/{id}/events",
    response_class=Response,
    responses={
        200: {"description": "The chunk stream's entries.", "content": {"text/event-stream": {}}}
    },
)
async def events(
    job: RequestedJob,
    context: CurrentContext,
    audio: Annotated[bool, Query(description="false: without the audio's bytes")] = True,
    last_event_id: Annotated[str, Header(description="go on after this one")] = "",
) -> Response:
    """Stream every entry of the chunk stream, from the first to the terminal one."""
    await job.record()
    async with AsyncExitStack() as stack:
        stack.enter_context(context.stream())
        await stack.enter_async_context(context.listening(job))
        lines = _lines(job, _position(last_event_id), audio=audio)
        return StreamingAudioResponse(
            _with_pings(context.gateway.stopping, lines),
            stack.pop_all(),
            media_type="text/event-stream",
            slow=context.settings.gateway_slow,
        )


def _position(last_event_id: str) -> tuple[int, str] | None:
    """Return (epoch, id of the entry); None, the beginning, for an id that is not ours."""
    match = _EVENT_ID.fullmatch(last_event_id)
    return (int(match[1]), match[2]) if match else None


async def _lines(
    job: AsyncJob, after: tuple[int, str] | None, *, audio: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(job.entries(after)) as entries:
        async for epoch, id, entry in entries:
            data = json.dumps(fields_of(entry, audio=audio), separators=(",", ":"))
            yield f"id: {epoch}-{id}\nevent: {entry.kind}\ndata: {data}\n\n".encode()


def fields_of(entry: Entry, *, audio: bool) -> dict[str, Any]:
    """Return the fields of an entry as JSON has them, with bytes in base64."""
    if isinstance(entry, WordsEntry):
        about = {"index": entry.index, "offset": entry.offset, "source": entry.source}
        return {**about, "words": json.loads(entry.places)}
    if not isinstance(entry, AudioEntry):
        return asdict(entry)
    data = b64encode(entry.data).decode("ascii") if audio else None
    return {"offset": entry.offset, "total": entry.total, "data": data}


async def _with_pings(
    stopping: asyncio.Event, lines: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the lines, with pings between them, until the gateway stops."""
    stopped = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[bytes | None] | None = None
    try:
        yield PING
        while not stopped.done():
            coming = coming or asyncio.ensure_future(anext(lines, None))
            both: set[asyncio.Future[Any]] = {coming, stopped}
            await asyncio.wait(both, timeout=PING_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                yield PING
                continue
            line, coming = coming.result(), None
            if line is None:
                return
            yield line
    finally:
        stopped.cancel()
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await lines.aclose()
