"""Keep the audio that was spoken ahead when a run fails, and count its calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Coroutine, Sequence
from typing import Any, TypeVar

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.codecs import Resampler
from speechfleet.errors import SpeechFleetError
from speechfleet.ledger import Lease
from speechfleet.record import Record
from speechfleet.segment_store import SegmentStore
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.synthesis.look_ahead import InFlightSegment
from speechfleet_worker.synthesis.metrics import JobCounts

log = logging.getLogger(__name__)
T = TypeVar("T")


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Await work that must not stop half-way; cancellation is raised after its end."""
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            is_cancelled = True
        except Exception:  # noqa: BLE001 # raised below
            break
    if is_cancelled:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("cleaning up after a cancelled job failed: %s", error)
        raise asyncio.CancelledError
    return task.result()


class Leftovers:
    """Keep and count the segments that a run began and did not record.

    ``unit_count`` counts a text as the provider bills it.
    """

    def __init__(
        self,
        lease: Lease,
        record: Record,
        segments: SegmentStore,
        *,
        account: str,
        unit_count: Callable[[str], int],
        counts: JobCounts,
    ) -> None:
        self._lease = lease
        self._epoch = record.epoch
        self._segments = segments
        self._account = account
        self._unit_count = unit_count
        self._counts = counts

    async def settle(self, calls: Sequence[InFlightSegment], *, keep: bool) -> None:
        """Count every call, and where ``keep``, store the audio that was spoken ahead completely.

        ``calls``: segments that a provider was called for and that the record does not name. A
        later attempt, and every other job with the same text, finds the audio in the store.
        """
        saved = {item.spoken.hash for item in calls if keep and await self._is_saved(item)}
        try:
            await asyncio.gather(*(self._count(item, saved) for item in calls))
        except SpeechFleetError as error:
            log.warning("%d calls are not counted: %s", len(calls), error)

    async def _count(self, item: InFlightSegment, saved: Container[str]) -> None:
        usage, hash = call_usage(item, self._unit_count), item.spoken.hash
        self._counts.used(usage)
        complete = hash if item.is_complete else ""
        await self._lease.count_call(
            self._epoch, self._account, usage,
            index=item.segment.index, complete=complete, stored=complete in saved,
        )  # fmt: skip

    async def _is_saved(self, item: InFlightSegment) -> bool:
        pieces = item.untouched_audio()
        if not pieces:
            return False
        rate, channels = pieces[0].shape
        pcm = b"".join(piece.pcm for piece in pieces)
        if channels != 1:
            mixer = Resampler(rate, rate, channels)
            pcm = mixer.feed(pcm) + mixer.flush()
        try:
            words = item.stored_words(rate, len(pcm))
            await self._segments.save(item.spoken.hash, pcm, rate, words)
        except SpeechFleetError as error:
            log.warning("a segment spoken ahead is not stored: %s", error)
            return False
        return True


def call_usage(item: InFlightSegment, unit_count: Callable[[str], int]) -> dict[str, int]:
    """Count one provider call: billed units and tokens only where it came to its end."""
    if not item.is_complete:
        return {"calls": 1}
    usage = {"calls": 1, "billed": unit_count(item.spoken_text)}
    if item.spoken.usage is not None:
        usage["tokens_in"] = item.spoken.usage.input_tokens
        usage["tokens_out"] = item.spoken.usage.output_tokens
    return usage


def segment_usage(
    item: InFlightSegment, size: int, rate: int, capabilities: Capabilities
) -> dict[str, int]:
    """Count a segment that became ``size`` bytes of audio, with its call if it had one."""
    milliseconds = round(size / BYTES_PER_SAMPLE / rate * 1000)
    usage = {"characters": len(item.segment.text), "audio_ms": milliseconds}
    if item.spoken.cached:
        return {**usage, "cached": capabilities.count(item.spoken_text)}
    if item.spoken.is_counted:
        return usage
    return usage | call_usage(item, capabilities.count)
