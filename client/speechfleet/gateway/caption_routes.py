"""``GET /jobs/{id}/captions``: what of a job is heard when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from speechfleet.captions import MEDIA_TYPES, CaptionForm, CaptionUnit
from speechfleet.gateway.context import RequestedJob
from speechfleet.gateway.streaming_response import attachment

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{id}/captions",
    response_class=Response,
    responses={
        200: {
            "description": "The captions.",
            "content": {media_type: {} for media_type in MEDIA_TYPES.values()},
        },
    },
)
async def captions(
    job: RequestedJob,
    format: Annotated[CaptionForm, Query(description="the form of the file")] = "vtt",
    by: Annotated[CaptionUnit, Query(description="what a cue holds")] = "line",
    words: Annotated[bool, Query(description="with the time of each word in a cue")] = False,
    download: Annotated[bool, Query(description="as a file to be saved")] = False,
) -> Response:
    """Send the captions of what is spoken so far, in seconds of the job's audio.

    Times of words that the provider did not tell are aligned with espeak-ng, or estimated.
    """
    text = await job.captions(format, by=by, words=words)
    headers = {"cache-control": "private, no-cache"}
    if download:
        headers |= attachment(f"{job.id[:100]}.{format}")
    return Response(text, media_type=MEDIA_TYPES[format], headers=headers)
