"""Cut the text of a session into segments while it arrives. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from speechfleet.request import Request
from speechfleet.speakable import SpeakableStream
from speechfleet_worker.segmentation import SentenceStream, TextSegment
from speechfleet_worker.spoken_text import SegmentPlacer, replacement_of, weigh_spoken
from speechfleet_worker.synthesis.long_text import off_loop_if_long
from speechfleet_worker.synthesis.model_cache import Voice


class SessionText:
    """Cuts a growing text into sentences, from ``start`` on, where an earlier worker stopped.

    ``index`` is the number of the first of them; offsets count from the start of the text.
    ``cold_start``: code points and words that are needed before anything is spoken.
    """

    def __init__(
        self,
        request: Request,
        voice: Voice,
        *,
        start: int,
        index: int,
        cold_start: tuple[int, int],
    ) -> None:
        self.text = ""
        self.spoken = ""
        """The text so far as it is spoken: without markup, where that is asked for."""
        self.size = 0
        """Bytes of the text in UTF-8."""
        self.open = True
        self._start = start
        self._base = 0  # position of the spoken text at which the sentences begin
        self._fed = 0  # code points of it that were cut, or passed over
        self._cold_start = (0, 0) if index else cold_start
        mode = request.form.speakable
        self._speakable = SpeakableStream("markdown" if mode == "auto" else mode, voice.language)
        words = replacement_of(request, voice.capabilities, voice.language)
        self._placer = SegmentPlacer(
            self._speakable.map,
            self._speakable.pauses,
            words,
            lambda start, end: self.text[start:end],
            index,
        )
        self._sentences = SentenceStream(
            limit=voice.capabilities.input_limit,
            count=weigh_spoken(voice.capabilities, words),
            language=voice.language,
        )

    @property
    def pauses(self) -> int:
        """Count the pauses that are written in the text so far."""
        return len(self._speakable.pauses)

    def take(self, tail: str, *, open: bool) -> list[TextSegment]:
        """Add more of the text; return the sentences that are certain now."""
        self.text += tail
        self.size += len(tail.encode())
        self.spoken += self._speakable.feed(tail)
        ended = self.open and not open
        self.open = open
        if ended:
            return self.pause()
        length, words = self._cold_start
        if len(self.text) < length or len(self.text.split()) < words:
            return []
        return self._placed(self._sentences.feed(self._rest()))

    async def take_off_loop(self, tail: str, *, open: bool) -> list[TextSegment]:
        """Call `take`, in a thread where the tail is long: other sessions share the loop."""
        return await off_loop_if_long(tail, partial(self.take, tail, open=open))

    def pause(self) -> list[TextSegment]:
        """Return what is left as it is, because no more text comes for now."""
        self.spoken += self._speakable.flush()
        segments = self._sentences.feed(self._rest())
        placed = self._placed([*segments, *self._sentences.flush()])
        return [*placed, *self._placer.pauses_up_to(len(self.spoken))]

    def _rest(self) -> str:
        if self._fed == self._base:
            self._base = self._fed = max(self._fed, self._speakable.map.spoken(self._start))
            self._placer.skip_pauses_before(self._start)
        rest, self._fed = self.spoken[self._fed :], len(self.spoken)
        return rest

    def _placed(self, segments: list[TextSegment]) -> list[TextSegment]:
        return [
            placed
            for segment in segments
            for placed in self._placer.placed(
                replace(segment, start=segment.start + self._base, end=segment.end + self._base)
            )
        ]
