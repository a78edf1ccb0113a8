"""One segment's audio: from the segment store, or from the provider."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial

from speechfleet import tracing
from speechfleet.errors import RateLimited, StoreError
from speechfleet.jobs import Lane, Record, Segment
from speechfleet.ledger import Lease
from speechfleet_worker.admission import Entry, Turnstile
from speechfleet_worker.lookahead import Ahead
from speechfleet_worker.models import Voice
from speechfleet_worker.output import Patience
from speechfleet_worker.process import Process
from speechfleet_worker.segment_store import SegmentStore, segment_hash
from speechfleet_worker.speaking import Piece, speak


class Caller:
    """Speaks the segments of one job, several at a time; what is stored is not spoken again."""

    def __init__(
        self, process: Process, lease: Lease, record: Record, voice: Voice, recorded: int
    ) -> None:
        self.voice = voice
        self.turnstile = Turnstile(process, lease, record, voice, recorded)
        self.patient = Patience(process.settings.store_patience)
        self.segments = SegmentStore(process.store, lease.job.namespace)
        self._timeouts = process.settings.timeouts
        self._namespace = lease.job.namespace
        self._request = record.request
        # Without the cache, segments are checkpoints of this epoch alone.
        self._salt = "" if self._request.cache else f"{lease.job.name}#{record.epoch}"

    async def recall(self, segment: Segment) -> bytes:
        """The audio of a segment that the record names, as long as it is in the stream."""
        stored = await self.patient(partial(self.segments.load, segment.hash))
        if stored is None:
            raise StoreError(
                "a segment that the record names is gone from the object store; "
                "retry the job to speak it again",
                code="segment_missing",
            )
        size = segment.end - segment.start
        return bytes(stored.pcm)[:size].ljust(size, b"\0")

    async def call(self, item: Ahead) -> None:
        """Fill an `Ahead` with its audio as it comes. Raises SpeechFleetError, Parked."""
        with tracing.span("segment", index=item.segment.index, characters=len(item.segment.text)):
            await self._call(item)

    async def _call(self, item: Ahead) -> None:
        item.spoken.hash = segment_hash(
            self._namespace, self._request, item.segment.text, self._salt
        )
        if self._request.lane is Lane.SESSION:
            # Somebody waits for these words: neither a budget nor an equal text holds them up.
            if not await self._recall_into(item):
                await self._speak_into(item)
            return
        async with self.turnstile.order:
            entry = await self._admitted(item)
        if entry is None:
            return
        try:
            await self._speak_into(item, entry)
        finally:
            await self.turnstile.done(entry)

    async def _admitted(self, item: Ahead) -> Entry | None:
        """The call, once it may begin; None where the audio was stored, and is given now."""
        while True:
            if self.turnstile.look_first:
                found = await self._recall_into(item)
                entry = None if found else await self.turnstile.enter(item)
            else:  # nothing is booked by asking: the store is looked into meanwhile
                found, entry = await asyncio.gather(
                    self._recall_into(item), self.turnstile.enter(item)
                )
            if found or entry is not None:
                return None if found else entry

    async def _recall_into(self, item: Ahead) -> bool:
        spoken = item.spoken
        stored = await self.patient(partial(self.segments.load, spoken.hash))
        if stored is None:
            return False
        spoken.cached, spoken.words = not await self.turnstile.paid(spoken.hash), stored.words
        item.give(Piece(bytes(stored.pcm), stored.sample_rate, stored.channels, None, {}))
        return True

    async def _speak_into(self, item: Ahead, entry: Entry | None = None) -> None:
        spoken, silent = item.spoken, True
        pieces = speak(self.voice.model(), item.segment.text, self._timeouts)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if silent:
                        silent = False
                        await self.turnstile.through(entry)
                    spoken.usage = piece.usage or spoken.usage
                    spoken.request_id = piece.metadata.get("request_id", spoken.request_id)
                    spoken.words = tuple(piece.metadata.get("words", spoken.words))
                    if piece.pcm:
                        item.give(piece)
        except RateLimited as error:
            await self.turnstile.refused(error, entry)
            raise
