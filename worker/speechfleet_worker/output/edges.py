"""Fade the edges of a segment that would click beside silence, or beside another segment."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

from speechfleet.audio.buffer import BYTES_PER_SAMPLE

FADE_S = 0.005
LEAST_STEP = 328
"""The smallest step of a click: 1 % of full scale."""


class EdgeFade:
    """Fades in and out the audio of one segment, mono s16le, where an edge would click.

    The audio alone decides: an edge clicks if the step from silence to its first sample, or from
    its last one, is larger than every step within 5 ms of it. All else comes out as it went in.
    Audio that has been faded does not click: it stays as it is.
    """

    def __init__(self, sample_rate: int) -> None:
        self._size = max(2, round(FADE_S * sample_rate)) * BYTES_PER_SAMPLE
        self._held = b""
        self._has_begun = False
        self.is_changed = False
        """An edge was faded."""

    def feed(self, pcm: bytes) -> bytes:
        """Return the audio that can be no part of the last edge; whole samples."""
        data = self._held + pcm if self._held else pcm
        self._held = b""
        if not self._has_begun:
            if len(data) < self._size:
                self._held = data
                return b""
            data = self._faded_in(data)
        if not _ends_with_click(data[-self._size :]):
            return data
        self._held = data[-self._size :]
        return data[: -self._size]

    def flush(self) -> bytes:
        """Return the rest."""
        data, self._held = self._held, b""
        if data and not self._has_begun:
            data = self._faded_in(data)
        samples = _samples(data)
        if not _clicks(samples[::-1]):
            return data
        self.is_changed = True
        return _ramp(samples[::-1])[::-1].tobytes()

    def _faded_in(self, data: bytes) -> bytes:
        self._has_begun = True
        edge = _samples(data[: self._size])
        if not _clicks(edge):
            return data
        self.is_changed = True
        return _ramp(edge).tobytes() + data[self._size :]


def _samples(data: bytes) -> array[int]:
    return array("h", data)


def _clicks(edge: Sequence[int]) -> bool:
    """Tell whether the step from silence to the first sample stands out."""
    if not edge or (step := abs(edge[0])) < LEAST_STEP:
        return False
    return all(abs(after - before) < step for before, after in pairwise(edge))


def _ends_with_click(data: bytes) -> bool:
    """Tell the same of the last sample; most often it is quiet, and no other one is read."""
    last = int.from_bytes(data[-BYTES_PER_SAMPLE:], "little", signed=True)
    return abs(last) >= LEAST_STEP and _clicks(_samples(data)[::-1])


def _ramp(edge: Sequence[int]) -> array[int]:
    """Return the samples louder and louder, from silence on."""
    size = len(edge)
    return array("h", (sample * at // size for at, sample in enumerate(edge)))
