"""The object beside a job's audio that tells its words when its record has expired."""

from __future__ import annotations

from collections.abc import Sequence

from speechfleet.ledger import Lease
from speechfleet.record import StoredSegment
from speechfleet.request import Lane, Request
from speechfleet.store.base import NewObject
from speechfleet.timeline import SEGMENT, Timeline
from speechfleet_worker.output.audio_object import ObjectInProgress


async def timeline_of(
    request: Request,
    lease: Lease,
    rate: int,
    segments: Sequence[StoredSegment],
    only_text: str | None,
    audio: ObjectInProgress,
) -> NewObject | None:
    """Make the object; None where the metadata of the audio suffice.

    ``only_text``: of the only segment, as it was spoken; None where there are several.
    """
    text = request.text
    if only_text is not None and only_text == text:
        audio.describe(SEGMENT, segments[0].hash)
        return None
    if request.lane is Lane.SESSION:
        text = (await lease.read(0)).tail
    return Timeline(text, request.language, rate, tuple(segments)).beside(audio.key)
