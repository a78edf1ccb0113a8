"""Captions of an item, from the segments in which it was spoken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from speechfleet.jobs import Segment
from speechfleet.tts import BYTES_PER_SAMPLE

Form = Literal["srt", "vtt"]
FORMS: tuple[Form, ...] = ("srt", "vtt")


def captions(form: Form, text: str, segments: Iterable[Segment], sample_rate: int) -> str:
    """SubRip or WebVTT, a cue a segment.

    https://www.w3.org/TR/webvtt1/: a cue's text holds no blank line and no ``-->``.
    """
    cues = "\n\n".join(_cues(form, text, segments, sample_rate))
    return f"WEBVTT\n\n{cues}\n" if form == "vtt" else f"{cues}\n"


def _cues(form: Form, text: str, segments: Iterable[Segment], sample_rate: int) -> Iterator[str]:
    per_second = sample_rate * BYTES_PER_SAMPLE
    for number, each in enumerate(segments, 1):
        start, end = (_clock(form, place / per_second) for place in (each.start, each.end))
        lines = (line.strip() for line in text[each.text_start : each.text_end].splitlines())
        said = "\n".join(line for line in lines if line).replace("-->", "→")
        if form == "vtt":
            said = said.replace("&", "&amp;").replace("<", "&lt;")
        yield f"{number}\n{start} --> {end}\n{said}"


def _clock(form: Form, seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    comma = "," if form == "srt" else "."
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{comma}{milliseconds % 1000:03}"
