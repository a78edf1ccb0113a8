"""Find where speech is heard in a recording, without any library."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

FRAME_S = 0.02
SHORTEST_SILENCE_S = 0.12
"""Shorter ones lie within words."""
_STRIDE = 8
"""Every eighth sample is looked at: enough for its loudness."""
_RELATIVE_FLOOR = 0.03
"""Share of the loud frames' level below which a frame is silent."""
_ABSOLUTE_FLOOR = 30
"""Of 32,767: digital silence and dither."""


class Stretch(NamedTuple):
    """A stretch of audio with speech: its frames (samples) [start, end)."""

    start: int
    end: int


def speech_in(pcm: bytes | memoryview, rate: int) -> list[Stretch]:
    """Return where s16le mono audio holds speech, between its silences; [] where it holds none."""
    hop = max(1, round(rate * FRAME_S))
    levels = list(_levels(memoryview(pcm).cast("B")[: len(pcm) // 2 * 2].cast("h"), hop))
    if not levels:
        return []
    loud = sorted(levels)[len(levels) * 9 // 10]
    floor = max(_ABSOLUTE_FLOOR, loud * _RELATIVE_FLOOR)
    found: list[Stretch] = []
    at = 0
    for is_loud, run in groupby(level > floor for level in levels):
        size = sum(1 for _ in run)
        if is_loud:
            stretch = Stretch(at * hop, min((at + size) * hop, len(pcm) // 2))
            if found and stretch.start - found[-1].end < SHORTEST_SILENCE_S * rate:
                stretch = Stretch(found.pop().start, stretch.end)
            found.append(stretch)
        at += size
    return found


def _levels(samples: memoryview[int], hop: int) -> Iterator[float]:
    for start in range(0, len(samples), hop):
        frame = samples[start : start + hop : _STRIDE].tolist()
        yield sum(map(abs, frame)) / len(frame)
