"""``GET /jobs/{id}/audio``: streamed while it is made, by ranges once it is stored."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Query, Request, Response

from speechfleet.audio import FORMATS
from speechfleet.gateway.failures import RangeRefused
from speechfleet.gateway.flow import Flow
from speechfleet.gateway.listening import Encoding, first, resumed
from speechfleet.gateway.orders import Format
from speechfleet.gateway.state import Guest, Job, Visit
from speechfleet.job import AsyncJob
from speechfleet.jobs import Record, State
from speechfleet.store import Store

router = APIRouter(prefix="/jobs", tags=["jobs"])
PIECE = 256 << 10
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@router.head("/{id}/audio", response_class=Response, include_in_schema=False)
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
    job: Job,
    visit: Guest,
    format: Annotated[Format | None, Query(description="else the job's own")] = None,
    download: Annotated[bool, Query(description="as a file to be saved")] = False,
) -> Response:
    """A job's audio: live and without ranges while it is made, from the store afterwards."""
    record = await job.record()
    wanted = format or record.request.format
    headers = {"x-sample-rate": str(record.sample_rate)} if record.sample_rate else {}
    if download:
        name = quote(f"{job.id[:100]}.{FORMATS[wanted].extension}", safe="")
        headers["content-disposition"] = f"attachment; filename*=UTF-8''{name}"
    if record.state is State.SUCCEEDED and wanted == record.request.format:
        return await _stored(visit, record, headers)
    if visit.request.method == "HEAD":
        return Response(headers=headers, media_type=FORMATS[wanted].media_type)
    return await _live(visit, job, wanted, headers)


async def _live(visit: Visit, job: AsyncJob, format: str, headers: dict[str, str]) -> Response:
    async with AsyncExitStack() as stack:
        stack.enter_context(visit.stream())
        await stack.enter_async_context(visit.listening(job))
        encoding = Encoding(job, format)
        pieces = encoding.pieces()
        stack.push_async_callback(pieces.aclose)
        beginning = await first(pieces, visit.client, job, visit.settings.gateway_patience)
        rate = encoding.sample_rate
        return Flow(
            resumed(beginning, pieces),
            stack.pop_all(),
            media_type=FORMATS[format].media_type_at(rate),
            slow=visit.settings.gateway_slow,
            headers={**headers, "x-sample-rate": str(rate), "accept-ranges": "none"},
        )


@dataclass(frozen=True)
class Range:
    """Bytes [start, end) of an object of ``size``; ``partial``: not asked for as a whole."""

    start: int
    end: int
    size: int
    partial: bool

    @classmethod
    def of(cls, request: Request, size: int, etag: str) -> Range:
        """What the request's header asks for. Raises RangeRefused.

        Several ranges at once, and what is no range, are answered with the whole (RFC 9110).
        """
        whole = cls(0, size, size, partial=False)
        match = _RANGE.fullmatch(request.headers.get("range", "").strip())
        if match is None or not (match[1] or match[2]):
            return whole
        if request.headers.get("if-range", etag) != etag:
            return whole
        if match[1]:
            start, end = int(match[1]), min(int(match[2] or size), size - 1) + 1
        else:
            start, end = max(0, size - int(match[2])), size
        if start >= size or (match[2] and match[1] and int(match[2]) < start):
            raise RangeRefused(f"the audio has {size:,} bytes")
        return cls(start, end, size, partial=True)

    @property
    def headers(self) -> dict[str, str]:
        headers = {"accept-ranges": "bytes", "content-length": str(self.end - self.start)}
        if self.partial:
            headers["content-range"] = f"bytes {self.start}-{self.end - 1}/{self.size}"
        return headers


async def _stored(visit: Visit, record: Record, headers: dict[str, str]) -> Response:
    store, key = visit.client.store, record.object
    # A page of ours may load from here only, see `security.POLICY`.
    of_a_page = visit.request.headers.get("sec-fetch-site") == "same-origin"
    if visit.settings.gateway_redirect and not of_a_page:
        link = await store.link(key)
        if urlsplit(link).scheme.startswith("http"):
            return Response(status_code=307, headers={"location": link})
    # An object is written once, and its key holds the token of who wrote it.
    etag = f'"{quote(key.rpartition("/")[2], safe="")}"'
    info = await store.head(key)
    wanted = Range.of(visit.request, info.size, etag)
    headers = {**headers, **wanted.headers, "etag": etag, "cache-control": "private, no-cache"}
    media_type = record.fields.get("media_type", info.media_type)
    status = 206 if wanted.partial else 200
    if visit.request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    if visit.request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    return Flow(
        _pieces(store, key, wanted),
        AsyncExitStack(),
        media_type=media_type,
        slow=visit.settings.gateway_slow,
        headers=headers,
        status_code=status,
    )


async def _pieces(store: Store, key: str, wanted: Range) -> AsyncGenerator[bytes, None]:
    for at in range(wanted.start, wanted.end, PIECE):
        yield await store.get(key, at, min(at + PIECE, wanted.end))
