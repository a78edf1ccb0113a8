"""Captions of the items of a batch, beside their audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from speechfleet.captions import CaptionForm, captions, check_captions
from speechfleet.ledger import Jobs, Result
from speechfleet.request import Request
from speechfleet.segment_store import SegmentStore
from speechfleet.store import Store
from speechfleet.suspects import Paces
from speechfleet.timeline import Timeline
from speechfleet.words import Word
from speechfleet.words_of_job import JobWords


@dataclass(frozen=True)
class CaptionStyle:
    """The captions that a batch writes: a cue a segment, or with ``words`` cues of lines, each
    word of which has its time.
    """

    form: CaptionForm
    words: bool = False

    @classmethod
    def of(cls, terms: Mapping[str, Any]) -> CaptionStyle | None:
        """Read what `as_terms` wrote into the terms of a detached batch."""
        form = terms.get("captions")
        return None if form is None else cls(check_captions(form)[0], bool(terms.get("words")))

    def as_terms(self) -> dict[str, Any]:
        """Write what a worker that makes the captions has to know."""
        return {"captions": self.form, "words": self.words}


@dataclass(frozen=True)
class CaptionedItem:
    """The captions of an item, and its segments that probably lack text, by index."""

    text: str
    suspects: list[int] = field(default_factory=list)

    def entry(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {"suspect": self.suspects} if self.suspects else {}


class ItemCaptions:
    """Makes the captions of a batch's items. For one event loop."""

    def __init__(self, jobs: Jobs, store: Store, namespace: str, style: CaptionStyle) -> None:
        self._jobs = jobs
        self._namespace = namespace
        self._words = JobWords(SegmentStore(store, namespace))
        self._paces = Paces()
        self.style = style

    async def of_item(self, result: Result, request: Request) -> CaptionedItem:
        """Return the captions of one item that succeeded. Raises StoreError."""
        segments = await self._jobs.segments(self._namespace, result.job_id, result.epoch)
        spoken: list[Word] = []
        suspects: list[int] = []
        if self.style.words:
            timeline = Timeline(
                request.text, request.language, result.sample_rate, tuple(segments)
            )
            found = await self._words.of_job(timeline)
            spoken, suspects = found.words, self._paces.suspects(request, found.ratios)
        if suspects:
            await self._note(result, suspects)
        text = captions(
            self.style.form,
            request.text,
            segments,
            result.sample_rate,
            spoken,
            by="line" if self.style.words else "segment",
            words=self.style.words,
        )
        return CaptionedItem(text, suspects)

    async def _note(self, result: Result, suspects: list[int]) -> None:
        record = await self._jobs.find(self._namespace, result.job_id)
        if record is not None and record.epoch == result.epoch:
            await self._jobs.note_suspects(record, suspects)
