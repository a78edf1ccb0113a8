"""Makes the segments that are spoken for a text: one decision for workers and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from speechfleet.errors import InvalidRequest
from speechfleet.lexicon import Replacement
from speechfleet.request import Request
from speechfleet.speakable import Pause, SourceMap, make_speakable
from speechfleet.takes import Takes
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.segmentation import CutReason, TextSegment, cut
from speechfleet_worker.segmentation.cut import language_of_text


class Speaker(NamedTuple):
    """The abilities of a request's model, and the language of its voice; "" for any."""

    can: Capabilities
    language: str


class LaterVoice(NamedTuple):
    """The request as a fallback voice speaks it, from the segment ``first`` on."""

    first: int
    request: Request


SpeakerOf = Callable[[Request], Speaker]
"""Tells the speaker of a request, for each voice of a dialogue."""


def spoken_segments(
    request: Request,
    speaker_of: SpeakerOf,
    takes: Takes | None = None,
    later: Sequence[LaterVoice] = (),
) -> Iterator[TextSegment]:
    """Yield what is spoken for the text of a request, in order, lazily.

    ``takes``: the segments that were spoken again. ``later``: fallback voices, by whose limits
    the rest of the text is cut. A text without a letter or digit that is
    spoken has no segments, whatever pauses it has. Raises InvalidRequest.
    """
    segments = (
        _of_parts(request, speaker_of, later)
        if request.form.parts
        else _of_text(request, speaker_of, later)
    )
    return _with_takes(segments, takes, speaker_of(request).can) if takes else segments


def request_for(request: Request, segment: TextSegment) -> Request:
    """Return the request as one of its segments is spoken."""
    if not (segment.voice or segment.options):
        return request
    asked = request.with_voice(segment.voice)
    return replace(asked, options={**asked.options, **segment.options})


def _of_parts(
    request: Request, speaker_of: SpeakerOf, later: Sequence[LaterVoice]
) -> Iterator[TextSegment]:
    index = paragraph = 0
    for number, part in enumerate(request.form.parts):
        own = _part_of(request, number)
        rest = [LaterVoice(first - index, _part_of(other, number)) for first, other in later]
        count, last = 0, paragraph
        for segment in _of_text(own, speaker_of, rest):
            count, last = segment.index + 1, paragraph + segment.paragraph
            voice = _request_at(segment.index, own, rest).form.parts[0].voice
            yield replace(
                segment, index=index + segment.index, start=segment.start + part.start,
                end=segment.end + part.start, paragraph=last, voice=voice,
            )  # fmt: skip
        index += count
        paragraph = last + 1


def _part_of(request: Request, number: int) -> Request:
    """Return the request of one part of a dialogue; its form keeps the voice of that part."""
    part = request.form.parts[number]
    return replace(
        request.with_voice(part.voice), text=request.text[part.start : part.end],
        form=replace(request.form, parts=(part,)),
    )  # fmt: skip


def _request_at(index: int, request: Request, later: Sequence[LaterVoice]) -> Request:
    reached = [other for first, other in later if first <= index]
    return reached[-1] if reached else request


def _of_text(
    request: Request, speaker_of: SpeakerOf, later: Sequence[LaterVoice]
) -> Iterator[TextSegment]:
    if later:
        return _in_turns([LaterVoice(0, request), *later], speaker_of)
    text, form, (can, of_voice) = request.text, request.form, speaker_of(request)
    language = of_voice or language_of_text(text)
    words = replacement_of(request, can, language)
    speakable = make_speakable(text, language, form.speakable)
    segments = _cut(speakable.text, request, can, words, language)
    if form.speakable == "off" and not words:
        return segments
    return SegmentPlacer(
        speakable.map, speakable.pauses, words, lambda start, end: text[start:end]
    ).placed_all(segments)


def _in_turns(voices: Sequence[LaterVoice], speaker_of: SpeakerOf) -> Iterator[TextSegment]:
    """Yield the segments of a text whose voice changes: each voice cuts from its first one on."""
    request = voices[0].request
    text, form = request.text, request.form
    language = speaker_of(request).language or language_of_text(text)
    speakable = make_speakable(text, language, form.speakable)
    plain = Replacement((), language=language, voice="")
    placer = SegmentPlacer(
        speakable.map, speakable.pauses, plain, lambda start, end: text[start:end]
    )
    at, is_spoken = 0, False
    ends = [following.first for following in voices[1:]]
    for (_, own), end in zip(voices, [*ends, None], strict=True):
        can, of_voice = speaker_of(own)
        words = replacement_of(own, can, of_voice or language)
        placer.use(words)
        begin = at
        for cut_off in _cut(speakable.text[begin:], own, can, words, of_voice or language):
            segment = replace(cut_off, start=cut_off.start + begin, end=cut_off.end + begin)
            if end is not None and placer.index_of(segment) >= end:
                at = segment.start
                break
            is_spoken = True
            yield from placer.placed(segment)
        else:
            break
    if is_spoken:
        yield from placer.pauses_up_to(speakable.map.size)


def _cut(
    spoken: str, request: Request, can: Capabilities, words: Replacement, language: str
) -> Iterator[TextSegment]:
    return cut(
        spoken, mode=request.segment_mode, limit=can.input_limit,
        count=weigh_spoken(can, words), language=language,
    )  # fmt: skip


def _with_takes(
    segments: Iterator[TextSegment], takes: Takes, can: Capabilities
) -> Iterator[TextSegment]:
    for segment in segments:
        of = takes.get(segment.index)
        take = of.takes[of.chosen] if of is not None else None
        if take is None or segment.pause:
            yield segment
            continue
        text = take.text or segment.text
        if can.weigh(text) > can.input_limit:
            raise InvalidRequest(
                f"take {of.chosen if of else 0} of segment {segment.index} has "
                f"{can.weigh(text):,} {can.unit}; one call takes {can.input_limit:,}",
                code="take_too_long",
            )
        yield replace(
            segment, text=text, original=segment.written, voice=take.voice or segment.voice,
            options=take.options, salt=take.salt,
        )  # fmt: skip


def stretch_salt(stretch: float) -> str:
    """Return what marks audio that the fleet stretched, in the hash of a segment; "" for none."""
    return "" if stretch == 1.0 else f"stretch={stretch:g}"


def replacement_of(request: Request, can: Capabilities, language: str) -> Replacement:
    """Return the words of a request's lexicon that hold for its voice and language."""
    voice = request.voice or can.default_voice
    return Replacement(request.form.lexicon, language=language, voice=voice)


def weigh_spoken(can: Capabilities, words: Replacement) -> Callable[[str], int]:
    """Return the function that weighs a text, as it is spoken, against the model's limit."""
    return (lambda text: can.weigh(words.apply(text)[0])) if words else can.weigh


class SegmentPlacer:
    """Turns segments of the spoken text into those of the written one, with the pauses between.

    ``pauses`` may grow meanwhile. ``written`` gives a stretch of the written text; ``index`` is
    the number of the first segment.
    """

    def __init__(
        self,
        map: SourceMap,
        pauses: Sequence[Pause],
        words: Replacement,
        written: Callable[[int, int], str],
        index: int = 0,
    ) -> None:
        self._written = written
        self._map = map
        self._pauses = pauses
        self._words = words
        self._index = index
        self._paused = 0  # pauses that were placed

    def use(self, words: Replacement) -> None:
        """Replace other words from here on."""
        self._words = words

    def index_of(self, segment: TextSegment) -> int:
        """Return the number that a segment would get, behind the pauses before it."""
        rest = range(self._paused, len(self._pauses))
        return self._index + sum(self._pauses[number].at <= segment.start for number in rest)

    def placed_all(self, segments: Iterable[TextSegment]) -> Iterator[TextSegment]:
        """Yield all segments of a text with the pauses; nothing if there are only pauses."""
        is_spoken = False
        for segment in segments:
            is_spoken = True
            yield from self.placed(segment)
        if is_spoken:
            yield from self.pauses_up_to(self._map.size)

    def placed(self, segment: TextSegment) -> Iterator[TextSegment]:
        """Yield the pauses before a segment, and the segment. Positions are of the spoken text."""
        yield from self.pauses_up_to(segment.start)
        start, end = self._map.written(segment.start, segment.end)
        yield replace(
            segment,
            index=self._next(),
            start=start,
            end=end,
            text=self._words.apply(segment.text)[0],
            original=self._written(start, end),
        )

    def pauses_up_to(self, position: int) -> Iterator[TextSegment]:
        """Yield the pauses up to a position of the spoken text that were not placed yet."""
        while self._paused < len(self._pauses):
            pause = self._pauses[self._paused]
            if pause.at > position:
                return
            self._paused += 1
            yield TextSegment(
                self._next(), pause.start, pause.end, "", 0, CutReason.PAUSE, pause.seconds
            )

    def skip_pauses_before(self, written: int) -> None:
        """Pass over the pauses that are written before a position: they were made already."""
        while self._paused < len(self._pauses) and self._pauses[self._paused].end <= written:
            self._paused += 1

    def _next(self) -> int:
        self._index += 1
        return self._index - 1
