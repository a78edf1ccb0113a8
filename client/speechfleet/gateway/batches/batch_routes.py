"""``/v1/batches``, as OpenAI has it, with ``/v1/audio/speech`` as the endpoint."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress
from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Header, Path, Query
from pydantic import ConfigDict, Field
from starlette.responses import Response

from speechfleet.audio.formats import FORMATS
from speechfleet.errors import BatchNotFound, InvalidRequest, ObjectMissing
from speechfleet.gateway.batches.batch_input import ENDPOINT
from speechfleet.gateway.batches.batch_view import (
    COMPLETION_WINDOW_S,
    BatchView,
    FaceOfBatch,
    Notes,
)
from speechfleet.gateway.batches.cursor_page import After, CursorPage, ids_after
from speechfleet.gateway.batches.file_routes import MAX_LIFETIME_S, MIN_LIFETIME_S
from speechfleet.gateway.batches.shelf import Shelf
from speechfleet.gateway.context import CurrentContext
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.stored_audio import stored_audio
from speechfleet.ledger.batches import item_id
from speechfleet.store import layout
from speechfleet.strict_model import StrictModel

router = APIRouter(prefix="/v1/batches", tags=["files and batches"])
MAX_METADATA = 16
BatchId = Annotated[str, Path(description="of a batch")]


class OutputExpiry(StrictModel):
    """When the output files expire."""

    model_config = ConfigDict(extra="forbid")

    anchor: Literal["created_at"]
    seconds: int = Field(ge=MIN_LIFETIME_S, le=MAX_LIFETIME_S)


class BatchOrder(StrictModel):
    """An input file, and what is to be done with its lines."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str
    endpoint: str = Field(description=f"{ENDPOINT}, and no other")
    completion_window: Literal["24h"] = "24h"
    metadata: dict[str, Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=MAX_METADATA, description="of your own; it is given back"
    )
    output_expires_after: OutputExpiry | None = None


@router.post("", response_model=BatchView)
async def create(
    order: BatchOrder,
    context: CurrentContext,
    idempotency_key: Annotated[
        str | None, Header(description="the same key is the same batch")
    ] = None,
) -> Response:
    """Speak the lines of a file. It is `validating` until the fleet has checked the file.

    A batch whose input is invalid has failed, and names the lines. A line that asks for what
    there is not (a voice, an option) goes to the error file, and the others are spoken.
    """
    if order.endpoint != ENDPOINT:
        raise InvalidRequest(f"endpoint must be {ENDPOINT}, not {order.endpoint[:100]!r}")
    shelf, client = Shelf(context), context.client
    id = _new_id(client.namespace, idempotency_key)
    if idempotency_key is not None:
        with suppress(BatchNotFound):
            return _answer(await shelf.batch(id))
    file = await shelf.file(order.input_file_id)
    expiry = order.output_expires_after
    lifetime = None if expiry is None else expiry.seconds
    notes = Notes(file.id, file.filename, order.metadata, lifetime)
    orders, about = client.ledger.batch_orders, notes.as_about()
    await orders.announce(client.namespace, id, about, within_s=COMPLETION_WINDOW_S)
    context.gateway.batch_checks.look()
    return _answer(await shelf.batch(id))


@router.get("", response_model=CursorPage[BatchView])
async def batches(
    context: CurrentContext,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: After = None,
) -> Response:
    """List batches, newest first."""
    client, shelf = context.client, Shelf(context)
    views: list[BatchView] = []
    for id in ids_after(await client.ledger.batches.ids(client.namespace), after):
        with suppress(BatchNotFound):  # expired, or made by the command line
            views.append((await shelf.batch(id)).view())
        if len(views) > limit:
            break
    return Json(CursorPage[BatchView].of(views, limit).model_dump())


@router.get("/{batch_id}", response_model=BatchView)
async def batch(batch_id: BatchId, context: CurrentContext) -> Response:
    """Show a batch."""
    return _answer(await Shelf(context).batch(unquote(batch_id)))


@router.post("/{batch_id}/cancel", response_model=BatchView)
async def cancel(batch_id: BatchId, context: CurrentContext) -> Response:
    """Cancel a batch. Lines that were spoken stay in its output file. Idempotent."""
    shelf, client, id = Shelf(context), context.client, unquote(batch_id)
    face = await shelf.batch(id)
    if not face.is_over:
        await client.ledger.batches.cancel(client.namespace, id, "cancelled over HTTP")
        face = await shelf.batch(id)
    return _answer(face)


@router.get(
    "/{batch_id}/audio/{custom_id}/{name}",
    response_class=Response,
    responses={
        200: {
            "description": "The audio.",
            "content": {format.media_type: {} for format in FORMATS.values()},
        },
        206: {"description": "A range of it."},
        307: {"description": "A presigned URL of it, where the gateway is set so."},
        416: {"description": "No byte is in that range."},
    },
)
async def audio(
    batch_id: BatchId,
    custom_id: Annotated[str, Path(description="of a line")],
    name: Annotated[str, Path(description="as the output file has it")],
    context: CurrentContext,
) -> Response:
    """Send the audio of a line, by the URL that the output file names."""
    job = item_id(unquote(batch_id), unquote(custom_id))
    name = unquote(name)
    if not name or "/" in name or set(name) == {"."}:
        raise ObjectMissing(f"there is no audio {name[:100]!r} of this line")
    key = layout.objects_of(context.client.namespace, job) + name
    return await stored_audio(context, key, {})


def _new_id(namespace: str, key: str | None) -> str:
    if key is None:
        return f"batch_{uuid.uuid4().hex}"
    digest = hashlib.blake2b(f"{namespace}\n{key}".encode("utf-8", "replace"), digest_size=16)
    return f"batch_{digest.hexdigest()}"


def _answer(face: FaceOfBatch) -> Response:
    return Json(face.view().model_dump())
