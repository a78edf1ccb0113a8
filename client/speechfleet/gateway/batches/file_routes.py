"""``/v1/files``, as OpenAI has it: input files of batches, and what batches put out."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import APIRouter, File, Form, Path, Query, UploadFile
from pydantic import BaseModel
from starlette.responses import Response

from speechfleet.batch.spool import JSONL
from speechfleet.errors import InvalidRequest
from speechfleet.gateway.batches.cursor_page import After, CursorPage, ids_after
from speechfleet.gateway.batches.file_listing import (
    MADE,
    UPLOADED,
    FileView,
    batch_of_output,
    file_view,
    new_file_id,
)
from speechfleet.gateway.batches.shelf import Shelf
from speechfleet.gateway.context import CurrentContext
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.streaming_response import StreamingAudioResponse, attachment
from speechfleet.ledger.files import StoredFile
from speechfleet.store import layout
from speechfleet.store.long_object import put_file

router = APIRouter(prefix="/v1/files", tags=["files and batches"])
MIN_LIFETIME_S, MAX_LIFETIME_S = 3600, 30 * 86400
"""Seconds that a client may ask a file to be kept, as at OpenAI."""
LONGEST_NAME = 256
MIN_IDS_AT_ONCE = 100
FileId = Annotated[str, Path(description="of an upload, or of a batch's output")]


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: bool


@router.post("", response_model=FileView)
async def upload(
    context: CurrentContext,
    file: Annotated[UploadFile, File(description="JSONL, one request for speech a line")],
    purpose: Annotated[Literal["batch"], Form()],
    anchor: Annotated[Literal["created_at"] | None, Form(alias="expires_after[anchor]")] = None,
    seconds: Annotated[
        int | None,
        Form(alias="expires_after[seconds]", ge=MIN_LIFETIME_S, le=MAX_LIFETIME_S),
    ] = None,
) -> Response:
    """Upload the input file of a batch. It is kept for 30 days, unless you say otherwise."""
    if (anchor is None) != (seconds is None):
        raise InvalidRequest("expires_after needs both: anchor and seconds")
    if not file.size:
        raise InvalidRequest("the file is empty")
    client, id = context.client, new_file_id()
    files, key = client.ledger.files, layout.file_object(context.client.namespace, id)
    await files.begin(client.namespace, id)
    await put_file(client.store, key, file.file, media_type=JSONL)
    now = await files.now()
    name = "".join(c for c in file.filename or "" if c.isprintable())[:LONGEST_NAME]
    lifetime = seconds or context.settings.gateway_file_lifetime
    stored = StoredFile(id, name, UPLOADED, file.size, now, now + lifetime)
    await files.add(client.namespace, stored)
    return Json(file_view(stored).model_dump())


@router.get("", response_model=CursorPage[FileView])
async def files(
    context: CurrentContext,
    purpose: Annotated[str | None, Query(description=f"{UPLOADED} or {MADE}; else both")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    after: After = None,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    """List files by the time they were made."""
    client, shelf = context.client, Shelf(context)
    await shelf.list_outputs()
    listed = await client.ledger.files.ids(client.namespace)
    ids = ids_after(listed[::-1] if order == "desc" else listed, after)
    found: list[StoredFile] = []
    step = max(limit + 1, MIN_IDS_AT_ONCE)
    for first in range(0, len(ids), step):
        page = await client.ledger.files.get_all(client.namespace, ids[first : first + step])
        found += [file for file in page if purpose in (None, file.purpose)]
        if len(found) > limit:
            break
    shown = [*await shelf.sized(found[:limit]), *found[limit : limit + 1]]
    views = [file_view(file) for file in shown]
    return Json(CursorPage[FileView].of(views, limit).model_dump())


@router.get("/{file_id}", response_model=FileView)
async def file(file_id: FileId, context: CurrentContext) -> Response:
    """Describe a file."""
    shelf = Shelf(context)
    [sized] = await shelf.sized([await shelf.file(unquote(file_id))])
    return Json(file_view(sized).model_dump())


@router.get(
    "/{file_id}/content",
    response_class=Response,
    responses={200: {"description": "The content.", "content": {JSONL: {}}}},
)
async def content(
    file_id: FileId,
    context: CurrentContext,
    audio: Annotated[
        Literal["base64"] | None,
        Query(description="of output files: also put audio of at most 1 MiB into the lines"),
    ] = None,
) -> Response:
    """Send a file. The lines of an output file name the audio by URLs."""
    shelf = Shelf(context)
    stored = await shelf.file(unquote(file_id))
    async with AsyncExitStack() as stack:
        stack.enter_context(context.stream())
        pieces = shelf.content(stored, inline=audio is not None)
        stack.push_async_callback(pieces.aclose)
        return StreamingAudioResponse(
            pieces,
            stack.pop_all(),
            media_type=JSONL,
            slow=context.settings.gateway_slow,
            headers=attachment(stored.filename or stored.id),
        )


@router.delete("/{file_id}", response_model=FileDeleted)
async def delete(file_id: FileId, context: CurrentContext) -> Response:
    """Delete a file. The audio that an output file names stays."""
    client, stored = context.client, await Shelf(context).file(unquote(file_id))
    if batch_of_output(stored.id) is not None:
        await client.ledger.files.remove(client.namespace, stored)
    else:
        await client.store.sweep(layout.file_object(client.namespace, stored.id))
        await client.ledger.files.forget(client.namespace, stored.id)
    return Json(FileDeleted(id=stored.id, deleted=True).model_dump())
