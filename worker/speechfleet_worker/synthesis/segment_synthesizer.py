"""Get one segment's audio: from the segment store, or from the provider."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.media_type import PcmShape
from speechfleet.errors import RateLimited, StoreError
from speechfleet.observability import tracing
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Lane, Request
from speechfleet.segment_store import SegmentStore, segment_hash
from speechfleet.settings import Timeouts
from speechfleet_worker.output.audio_object import StoreRetry
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.spoken_text import request_for, stretch_salt
from speechfleet_worker.synthesis.admission import Admission, AdmittedCall
from speechfleet_worker.synthesis.look_ahead import InFlightSegment
from speechfleet_worker.synthesis.model_cache import Voice
from speechfleet_worker.synthesis.model_driver import AudioPiece, speak
from speechfleet_worker.synthesis.stretcher import Stretcher
from speechfleet_worker.synthesis.word_times import faster, read_words, spoken_words

ChangeText = Callable[[str], Awaitable[str]]

LATE_ANSWER_S = 0.1
"""Seconds after which Redis may have forgotten a job that had stored the segment meanwhile."""


class SegmentSynthesizer:
    """Speak the segments of one job, several at a time; never speak again what is stored.

    ``change_text`` is asked before each segment what to send to the provider: the hooks of the
    worker may change it, and the changed text is what is hashed.
    """

    def __init__(
        self,
        record: Record,
        voice: Voice,
        voice_of: Callable[[Request], Voice],
        admission: Admission,
        segments: SegmentStore,
        retry: StoreRetry,
        timeouts: Timeouts,
        change_text: ChangeText | None = None,
    ) -> None:
        self._request = record.request
        self._namespace = record.namespace
        self._voice = voice
        self._voice_of = voice_of
        self._admission = admission
        self._segments = segments
        self._retry = retry
        self._timeouts = timeouts
        self._change_text = change_text
        self._stored_ahead = record.stored_ahead
        self._fallback = (record.model,) if record.turns else ()
        models = {self._request.with_voice(voice).model for voice in self._request.voices}
        self._has_models = len(models) > 1
        # Without the cache, segments are checkpoints of this epoch alone.
        job = f"{record.namespace}/{record.id}"
        self._salt = "" if self._request.cache else f"{job}#{record.epoch}"

    async def recall(self, segment: StoredSegment) -> bytes:
        """Load the audio of a segment that the record names, as long as it is in the stream."""
        stored = await self._retry(partial(self._segments.load, segment.hash))
        if stored is None:
            raise StoreError(
                "a segment that the record names is gone from the object store; "
                "retry the job to speak it again",
                code="segment_missing",
            )
        size = segment.end - segment.start
        return bytes(stored.pcm)[:size].ljust(size, b"\0")

    async def synthesize(self, item: InFlightSegment) -> None:
        """Fill a segment with its audio as it comes. Raises SpeechFleetError, Suspended."""
        with tracing.span("segment", index=item.segment.index, characters=len(item.segment.text)):
            if item.segment.pause:
                self._pause(item)
            elif self._request.lane is Lane.SESSION:
                await self._synthesize_now(item)
            else:
                await self._synthesize_in_turn(item)

    def _pause(self, item: InFlightSegment) -> None:
        """Give silence, which nobody is paid for."""
        rate = self._voice.capabilities.sample_rate
        samples = round(item.segment.pause * rate)
        item.spoken.hash = segment_hash(self._namespace, self._request, "", f"pause={samples}")
        item.spoken.is_counted = True
        item.give(AudioPiece(bytes(samples * BYTES_PER_SAMPLE), PcmShape(rate), None, {}))

    async def _synthesize_now(self, item: InFlightSegment) -> None:
        # Somebody waits for these words: neither a rate limit nor an equal text holds them up.
        await self._prepare(item)
        if not await self._is_recalled(item):
            await self._call_provider(item)

    async def _synthesize_in_turn(self, item: InFlightSegment) -> None:
        async with self._admission.order:
            await self._prepare(item)
            admitted = await self._admitted(item)
        if admitted is None:
            return
        try:
            await self._call_provider(item, admitted)
        finally:
            await self._admission.done(admitted)

    async def _prepare(self, item: InFlightSegment) -> None:
        """Ask the hooks for the text, and hash what will be spoken."""
        if self._change_text is not None:
            item.changed_text = await self._change_text(item.segment.text)
        segment, text, spoken = item.segment, item.spoken_text, item.spoken
        speaker = self._speaker(segment)
        spoken.language = speaker.language
        spoken.rendering = speaker.rendering(text)
        spoken.by = speaker.spoken_by(text) or self._fallback or self._other_model(segment)
        salt = self._salt + stretch_salt(speaker.stretch) + segment.salt
        request = request_for(self._request, segment)
        spoken.hash = segment_hash(
            self._namespace, request, text, salt, rendering=spoken.rendering
        )

    def _other_model(self, segment: TextSegment) -> tuple[str, ...]:
        """Name the model of a segment in a job of several models; nothing in any other job."""
        return (request_for(self._request, segment).model,) if self._has_models else ()

    def _speaker(self, segment: TextSegment) -> Voice:
        """Return the voice that speaks a segment."""
        request = request_for(self._request, segment)
        return self._voice if request is self._request else self._voice_of(request)

    async def _admitted(self, item: InFlightSegment) -> AdmittedCall | None:
        """Wait until the call may begin; None where the audio was stored, and is given now."""
        while True:
            if self._admission.looks_first(item.spoken.hash):
                is_recalled = await self._is_recalled(item)
                admitted = None if is_recalled else await self._admission.enter(item)
            else:  # nothing is booked by asking: the store is looked into meanwhile
                asked = time.monotonic()
                admitted, is_recalled = await asyncio.gather(
                    self._admission.enter(item), self._is_recalled(item)
                )
                is_late = time.monotonic() - asked > LATE_ANSWER_S
                if admitted is not None and not is_recalled and is_late:
                    is_recalled = await self._is_recalled(item)
            if is_recalled or admitted is not None:
                return None if is_recalled else admitted

    async def _is_recalled(self, item: InFlightSegment) -> bool:
        """Give the stored audio, where there is any."""
        spoken = item.spoken
        stored = await self._retry(partial(self._segments.load, spoken.hash))
        if stored is None:
            return False
        spoken.is_counted = spoken.hash in self._stored_ahead
        spoken.cached = not spoken.is_counted and not await self._admission.paid(spoken.hash)
        spoken.is_stored = True
        if stored.words is not None:
            spoken.words = spoken_words(stored.words, stored.sample_rate)
            spoken.word_source = stored.words.source
        shape = PcmShape(stored.sample_rate, stored.channels)
        item.give(AudioPiece(bytes(stored.pcm), shape, None, {}))
        return True

    async def _call_provider(
        self, item: InFlightSegment, admitted: AdmittedCall | None = None
    ) -> None:
        spoken, is_silent, words, began = item.spoken, True, None, time.monotonic()
        spoken.is_called = True
        voice = self._speaker(item.segment)
        stretcher = None if voice.stretch == 1.0 else Stretcher(voice.stretch)
        pieces = speak(voice.model(), item.spoken_text, self._timeouts)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if is_silent:
                        is_silent = False
                        await self._admission.through(admitted)
                        await self._admission.allows(piece.metadata.get("concurrent_limit"))
                    spoken.usage = piece.usage or spoken.usage
                    if piece.metadata:
                        spoken.request_id = piece.request_id or spoken.request_id
                        words = piece.metadata.get("words") or words
                    if piece.pcm:
                        item.give(stretcher.stretched(piece) if stretcher else piece)
            if stretcher is not None and (rest := stretcher.finish()) is not None:
                item.give(rest)
            spoken.words = faster(read_words(words), voice.stretch)
            await self._admission.answered(time.monotonic() - began)
        except RateLimited as error:
            await self._admission.refused(error, admitted)
            raise
