"""Make the captions of a job: one function for the command line, the gateway and batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.captions.cues import Cue, by_line, by_word
from speechfleet.captions.forms import FORMS, CaptionForm, write
from speechfleet.captions.units import Unit, units
from speechfleet.errors import InvalidRequest
from speechfleet.record import StoredSegment
from speechfleet.words import Word

CaptionUnit = Literal["segment", "line", "word"]
"""The content of a cue: a segment (one call), one or two lines, or a word."""
CAPTION_UNITS: tuple[CaptionUnit, ...] = get_args(CaptionUnit)


def check_captions(form: str, by: str = "line") -> tuple[CaptionForm, CaptionUnit]:
    """Return the form and the unit where there are such. Raises InvalidRequest."""
    for known in FORMS:
        for unit in CAPTION_UNITS:
            if (known, unit) == (form, by):
                return known, unit
    if form not in FORMS:
        raise InvalidRequest(f"captions are {_shown(FORMS)}, not {form!r}")
    raise InvalidRequest(f"captions are cut by {_shown(CAPTION_UNITS)}, not by {by!r}")


def captions(
    form: CaptionForm,
    text: str,
    segments: Sequence[StoredSegment],
    sample_rate: int,
    spoken: Iterable[Word] = (),
    *,
    by: CaptionUnit = "line",
    words: bool = False,
) -> str:
    """Return the captions of the segments of a job, which speak ``text``.

    ``spoken``: its words; a segment without any is shared out by the length of its words.
    ``words``: tell the time of each word within a cue (not in SubRip).
    """
    if not sample_rate or not segments:
        return write(form, [], words=words)
    bytes_per_second = sample_rate * BYTES_PER_SAMPLE
    found = units(text, segments, spoken, bytes_per_second)
    duration = segments[-1].end / bytes_per_second
    match by:
        case "word":
            cues = by_word(found)
        case "line":
            cues = by_line(found, duration)
        case "segment":
            cues = list(_by_segment(found, segments, bytes_per_second))
    return write(form, cues, words=words)


def _by_segment(
    found: Sequence[Unit], segments: Sequence[StoredSegment], bytes_per_second: int
) -> Iterator[Cue]:
    """Yield a cue a segment, with the lines of the text as they are."""
    at = 0
    for segment in segments:
        lines: dict[int, list[Unit]] = {}
        while at < len(found) and found[at].text_start < segment.text_end:
            lines.setdefault(found[at].row, []).append(found[at])
            at += 1
        if lines:
            start, end = segment.start / bytes_per_second, segment.end / bytes_per_second
            yield Cue(start, end, tuple(map(tuple, lines.values())))


def _shown(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
