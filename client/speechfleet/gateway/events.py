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

from speechfleet.chunks import AudioEntry, Entry
from speechfleet.gateway.flow import Flow
from speechfleet.gateway.state import Guest, Job
from speechfleet.job import AsyncJob

router = APIRouter(prefix="/jobs", tags=["jobs"])
PING_EVERY = 15.0
PING = b": ping\n\n"
_ID = re.compile(r"(\d{1,9})-(\d{1,19}(-\d{1,19})?)")


@router.get(
    "/{id}/events",
    response_class=Response,
    responses={200: {"description": "See the README.", "content": {"text/event-stream": {}}}},
)
async def events(
    job: Job,
    visit: Guest,
    audio: Annotated[bool, Query(description="false: without the audio's bytes")] = True,
    last_event_id: Annotated[str, Header(description="go on after this one")] = "",
) -> Response:
    """Every entry of the chunk stream, from the first one on, then live to the terminal one."""
    await job.record()
    async with AsyncExitStack() as stack:
        stack.enter_context(visit.stream())
        await stack.enter_async_context(visit.listening(job))
        return Flow(
            _until(visit.gateway.stopping, _lines(job, _position(last_event_id), audio=audio)),
            stack.pop_all(),
            media_type="text/event-stream",
            slow=visit.settings.gateway_slow,
        )


def _position(last_event_id: str) -> tuple[int, str] | None:
    """(epoch, id of the entry); what is no id of ours means the beginning."""
    match = _ID.fullmatch(last_event_id)
    return (int(match[1]), match[2]) if match else None


async def _lines(
    job: AsyncJob, after: tuple[int, str] | None, *, audio: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(job.entries(after)) as entries:
        async for epoch, id, entry in entries:
            data = json.dumps(fields_of(entry, audio=audio), separators=(",", ":"))
            yield f"id: {epoch}-{id}\nevent: {entry.kind}\ndata: {data}\n\n".encode()


def fields_of(entry: Entry, *, audio: bool) -> dict[str, Any]:
    """The fields as JSON has them; bytes in base64."""
    if not isinstance(entry, AudioEntry):
        return asdict(entry)
    data = b64encode(entry.data).decode("ascii") if audio else None
    return {"offset": entry.offset, "total": entry.total, "data": data}


async def _until(
    stopping: asyncio.Event, lines: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The lines, and pings between them, until the gateway stops."""
    stopped = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[bytes | None] | None = None
    try:
        yield PING
        while not stopped.done():
            coming = coming or asyncio.ensure_future(anext(lines, None))
            both: set[asyncio.Future[Any]] = {coming, stopped}
            await asyncio.wait(both, timeout=PING_EVERY, return_when=asyncio.FIRST_COMPLETED)
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
