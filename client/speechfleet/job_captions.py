"""Words and captions of one job, from its record and the store."""

from __future__ import annotations

from functools import partial

from speechfleet.captions import CaptionForm, CaptionUnit, captions
from speechfleet.context import Context
from speechfleet.errors import InvalidRequest, StoreDenied
from speechfleet.in_thread import in_thread
from speechfleet.record import Record
from speechfleet.segment_store import SegmentStore
from speechfleet.suspects import Paces
from speechfleet.timeline import Timeline, stored_timeline
from speechfleet.words import Word
from speechfleet.words_of_job import JobWords


async def words_of_job(context: Context, id: str, *, find: bool = True) -> list[Word]:
    """Return the words of a job's finished segments, in order; see `JobWords.of_job`."""
    record, timeline = await _timeline(context, id)
    return await _words(context, record, timeline, find=find)


async def captions_of_job(
    context: Context, id: str, form: CaptionForm, *, by: CaptionUnit, words: bool
) -> str:
    """Return the captions of what is spoken so far.

    Raises InvalidRequest, JobNotFound, StoreError.
    """
    record, timeline = await _timeline(context, id)
    if not timeline.segments:
        state = "" if record is None else f" ({record.state})"
        raise InvalidRequest(
            f"job {id!r} has no audio yet{state}: captions tell when its text is heard",
            code="no_audio",
        )
    spoken: list[Word] = []
    if words or by != "segment":
        spoken = await _words(context, record, timeline)
    make = partial(captions, form, timeline.text, timeline.segments, timeline.sample_rate, spoken)
    # A long text takes a second or more.
    return await in_thread(partial(make, by=by, words=words))


async def _timeline(context: Context, id: str) -> tuple[Record | None, Timeline]:
    """Return the timeline of a job, from the store where its record has expired."""
    jobs, namespace = context.ledger.jobs, context.namespace
    record = await jobs.find(namespace, id)
    if record is not None:
        return record, Timeline.of(record, await jobs.segments(namespace, id, record.epoch))
    try:
        timeline = await stored_timeline(context.store, namespace, id)
    except (StoreDenied, ValueError):
        timeline = None
    if timeline is None:
        record = await jobs.load(namespace, id)  # tells that there is none
        return await _timeline(context, record.id)
    return None, timeline


async def _words(
    context: Context, record: Record | None, timeline: Timeline, *, find: bool = True
) -> list[Word]:
    """Read or find the words; note in the record which segments are too short for theirs."""
    words = JobWords(SegmentStore(context.store, context.namespace))
    found = await words.of_job(timeline, find=find)
    if record is not None and found.ratios:
        suspects = Paces().suspects(record.request, found.ratios)
        if suspects != record.suspect:
            await context.ledger.jobs.note_suspects(record, suspects)
    return found.words
