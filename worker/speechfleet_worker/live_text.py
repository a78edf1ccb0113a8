"""The text of a session as it comes, cut into what is spoken. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import replace

from speechfleet_worker.models import Voice
from speechfleet_worker.segments import Segment, SentenceStream


class LiveText:
    """Sentences out of a text that grows, from ``start`` on, where an earlier worker stopped.

    ``index`` is the number of the first of them; offsets count from the start of the text.
    ``cold_start``: code points and words that there must be before anything is spoken.
    """

    def __init__(
        self, voice: Voice, *, start: int, index: int, cold_start: tuple[int, int]
    ) -> None:
        self.text = ""
        self.size = 0
        """Bytes of the text in UTF-8."""
        self.open = True
        self._start = self._fed = start
        self._index = index
        self._cold_start = (0, 0) if index else cold_start
        self._sentences = SentenceStream(
            limit=voice.capabilities.input_limit,
            count=voice.capabilities.count,
            language=voice.language,
        )

    def take(self, tail: str, *, open: bool) -> list[Segment]:
        """More of the text; what is certain now."""
        self.text += tail
        self.size += len(tail.encode())
        ended = self.open and not open
        self.open = open
        if ended:
            return self.pause()
        length, words = self._cold_start
        if len(self.text) < length or len(self.text.split()) < words:
            return []
        return self._placed(self._sentences.feed(self._rest()))

    def pause(self) -> list[Segment]:
        """Nothing comes for now: what is there, as it is."""
        segments = self._sentences.feed(self._rest())
        return self._placed([*segments, *self._sentences.flush()])

    def _rest(self) -> str:
        rest, self._fed = self.text[self._fed :], max(self._fed, len(self.text))
        return rest

    def _placed(self, segments: list[Segment]) -> list[Segment]:
        return [
            replace(
                segment,
                index=segment.index + self._index,
                start=segment.start + self._start,
                end=segment.end + self._start,
            )
            for segment in segments
        ]
