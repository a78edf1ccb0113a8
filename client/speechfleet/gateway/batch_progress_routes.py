"""``/batches``: how far batches are, what failed in them, and the audio that they made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from speechfleet.batch.batch import AsyncBatch
from speechfleet.batch.ended_items import WAITS_FOR_A_WORKER
from speechfleet.batch.manifest import as_lines
from speechfleet.batch.remote_manifest import RemoteManifest
from speechfleet.client import AsyncClient
from speechfleet.corpus.item import Item
from speechfleet.errors import BatchNotFound
from speechfleet.gateway.context import CurrentContext, RequestContext
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.stored_audio import PIECE_BYTES
from speechfleet.gateway.streaming_response import StreamingAudioResponse, attachment
from speechfleet.gateway.zip_stream import MEDIA_TYPE as ZIP
from speechfleet.gateway.zip_stream import zipped
from speechfleet.ledger import BatchState, BatchStatus, Feed
from speechfleet.ledger.batches import item_id
from speechfleet.store import Store, layout
from speechfleet.store.long_object import pieces_of

router = APIRouter(prefix="/batches", tags=["batches"])
JSONL = "application/x-ndjson"
LARGEST_OFFSET = 100_000
LARGEST_PAGE = 100
COUNTS = ("submitted", "outstanding", "succeeded", "failed", "cancelled", "cached")


class BatchView(BaseModel):
    """The progress of a batch. Times are Unix seconds."""

    id: str
    state: BatchState
    code: str
    message: str
    created: float
    updated: float
    model: str
    voice: str
    total: int | None = Field(description="items of the corpus, where its client has counted them")
    submitted: int
    outstanding: int = Field(description="items that are queued or running")
    succeeded: int
    failed: int
    cancelled: int
    cached: int = Field(description="items that were spoken without a call to a provider")
    usage: dict[str, float]
    fed_by: str = Field(
        description="the worker that submits its items, or `the fleet` while none does; empty for "
        "a batch whose own command does, and keeps the audio"
    )
    fed: float | None = Field(description="part of the corpus that was submitted; null: not known")


class BatchList(BaseModel):
    batches: list[BatchView]
    offset: int
    count: int


class RetriedView(BaseModel):
    """The number of items that are spoken again."""

    retried: int


class CancelledView(BaseModel):
    """The number of items that were stopped."""

    cancelled: int


async def _batch(
    context: CurrentContext, id: Annotated[str, Path(description="id of the batch")]
) -> AsyncBatch:
    return context.client.batch(id=unquote(id))


RequestedBatch = Annotated[AsyncBatch, Depends(_batch)]


@router.get("", response_model=BatchList)
async def batches(
    context: CurrentContext,
    offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET)] = 0,
    count: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 25,
) -> Response:
    """List the batches of the key's namespace, newest first."""
    client = context.client
    found = await client.ledger.batch_pages.page(client.namespace, offset=offset, count=count)
    views = await asyncio.gather(*(_view(context, status) for status in found))
    return Json({"batches": views, "offset": offset, "count": count})


@router.get("/{id}", response_model=BatchView)
async def batch(batch: RequestedBatch, context: CurrentContext) -> Response:
    """Show how far a batch is."""
    return Json(await _view(context, await batch.status()))


@router.post("/{id}/retry-failed", response_model=RetriedView)
async def retry_failed(batch: RequestedBatch) -> Response:
    """Speak the items that failed again; the batch is opened for them."""
    await batch.status()  # raises BatchNotFound
    return Json({"retried": await batch.retry_failed()})


@router.post("/{id}/cancel", response_model=CancelledView)
async def cancel(batch: RequestedBatch) -> Response:
    """Stop the items that wait or run; the same corpus resumes the batch."""
    return Json({"cancelled": await batch.cancel("cancelled over HTTP")})


@router.get(
    "/{id}/manifest",
    response_class=Response,
    responses={200: {"description": "A line of JSON for each item.", "content": {JSONL: {}}}},
)
async def manifest(batch: RequestedBatch, context: CurrentContext) -> Response:
    """Send the manifest of a batch that the fleet feeds: how each item ended."""
    remote = await _manifest(context, batch)

    async def lines() -> AsyncGenerator[bytes, None]:
        async for entries in remote.entries():
            yield as_lines(entries)

    return _sent(context, lines(), JSONL, f"{batch.id}.jsonl")


@router.get(
    "/{id}/audio.zip",
    response_class=Response,
    responses={200: {"description": "A file for each item.", "content": {ZIP: {}}}},
)
async def audio(batch: RequestedBatch, context: CurrentContext) -> Response:
    """Send the audio of a batch that the fleet feeds, as far as it is made, in one archive."""
    remote = await _manifest(context, batch)
    return _sent(context, zipped(_files(context.client, batch.id, remote)), ZIP, f"{batch.id}.zip")


async def _manifest(context: RequestContext, batch: AsyncBatch) -> RemoteManifest:
    """Return the manifest in the store. Raises BatchNotFound where there is none."""
    client = context.client
    await batch.status()
    if not await batch.fed_by():
        raise BatchNotFound(
            f"batch {batch.id!r} was not detached (or is forgotten by now): its own command keeps "
            "the audio and the manifest"
        )
    return RemoteManifest(client.ledger.feeds, client.store, client.namespace, batch.id)


async def _files(
    client: AsyncClient, batch: str, remote: RemoteManifest
) -> AsyncGenerator[tuple[str, AsyncGenerator[bytes, None]], None]:
    """Yield the name and the content of each item's audio; of several results the last counts.

    Whatever a manifest names, nothing but audio of its own items is sent.
    """
    found: dict[str, str] = {}
    async for entries in remote.entries():
        for entry in entries:
            name = f"{Item(entry['id'], '').file_name}.{entry.get('format', 'wav')}"
            found.pop(name, None)
            own = layout.objects_of(client.namespace, item_id(batch, entry["id"]))
            if entry.get("object", "").startswith(own):
                found[name] = entry["object"]
    for name, key in found.items():
        yield name, _content(client.store, key)


async def _content(store: Store, key: str) -> AsyncGenerator[bytes, None]:
    size = (await store.head(key)).size
    async for piece in pieces_of(store, key, 0, size, PIECE_BYTES):
        yield piece


def _sent(
    context: RequestContext, pieces: AsyncGenerator[bytes, None], media_type: str, name: str
) -> Response:
    resources = AsyncExitStack()
    resources.enter_context(context.stream())
    return StreamingAudioResponse(
        pieces,
        resources,
        media_type=media_type,
        slow=context.settings.gateway_slow,
        headers=attachment(name),
    )


async def _view(context: RequestContext, status: BatchStatus) -> dict[str, Any]:
    feed = await context.client.ledger.feeds.find(context.client.namespace, status.id)
    return {
        "id": status.id,
        "state": status.state,
        "code": status.code,
        "message": status.message,
        "created": status.created,
        "updated": status.updated,
        "model": status.about.get("model", ""),
        "voice": status.about.get("voice", ""),
        "total": status.total,
        **{name: getattr(status, name) for name in COUNTS},
        "usage": dict(status.usage),
        "fed_by": "" if feed is None else feed.boot or WAITS_FOR_A_WORKER,
        "fed": _fed(feed),
    }


def _fed(feed: Feed | None) -> float | None:
    return None if feed is None or not feed.size else min(1.0, feed.offset / feed.size)
