"""An answer with stored audio: whole, a range, a version, or a presigned URL."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import quote, urlsplit

from starlette.responses import Response

from speechfleet.gateway.byte_range import ByteRange, has_version, wants_version
from speechfleet.gateway.context import RequestContext
from speechfleet.gateway.errors import PreconditionFailed
from speechfleet.gateway.streaming_response import StreamingAudioResponse
from speechfleet.store.long_object import pieces_of

PIECE_BYTES = 256 << 10
"""Bytes that are read from the store at once."""


async def stored_audio(
    context: RequestContext, key: str, headers: Mapping[str, str], media_type: str = ""
) -> Response:
    """Send the stored object, or the range and version of it that the request asks for.

    Raises ObjectMissing, RangeRefused, PreconditionFailed.
    """
    request, store = context.request, context.client.store
    # The console may load audio from its own origin only, see `security.POLICY`.
    is_console = request.headers.get("sec-fetch-site") == "same-origin"
    if context.settings.gateway_redirect and not is_console:
        link = await store.link(key)
        if urlsplit(link).scheme.startswith("http"):
            return Response(status_code=307, headers={"location": link})
    # An object is written once, and its key holds the token of its writer.
    etag = f'"{quote(key.rpartition("/")[2], safe="")}"'
    info = await store.head(key)
    headers = {**headers, "etag": etag, "cache-control": "private, no-cache"}
    if has_version(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if not wants_version(request.headers.get("if-match", "*"), etag):
        raise PreconditionFailed("the stored audio is another version than If-Match names")
    part = ByteRange.of(request, info.size, etag)
    async with AsyncExitStack() as stack:
        stack.enter_context(context.stream())
        return StreamingAudioResponse(
            pieces_of(store, key, part.start, part.end, PIECE_BYTES),
            stack.pop_all(),
            media_type=media_type or info.media_type,
            slow=context.settings.gateway_slow,
            headers=headers | part.headers,
            status_code=206 if part.is_partial else 200,
        )
