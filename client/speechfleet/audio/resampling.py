"""Resampling of 16-bit speech: exact lengths, exact positions, and no state that time can blur.

Every output sample depends on a fixed window of input samples and on nothing else. So the result
is the same however the audio was cut into chunks, and audio that was taken back can be resampled
again from where it was cut. Libraries that stream do not promise that. The coefficients are
integers: numpy, where it is installed, computes the same samples as plain Python, only faster.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from operator import mul
from typing import Any

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.errors import InvalidRequest

SAMPLE_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Samples a second that speech may be brought to."""

_ZERO_CROSSINGS = 24
"""Of the filter, on each side of its centre."""
_CUTOFF = 0.92
"""Of the lower of both Nyquist frequencies; the filter has ended at that frequency."""
_KAISER_BETA = 6.5
_UNIT_BITS = 15
_BLOCK_FRAMES = 4096
"""Output frames that numpy computes at a time, so that its arrays stay small."""

_sum_of_products: Callable[[Sequence[int], Sequence[int]], int] = getattr(
    math, "sumprod", lambda left, right: sum(map(mul, left, right))
)
"""`math.sumprod` is there since Python 3.12."""


def check_sample_rate(rate: int | None) -> None:
    """Refuse a rate that speech is not brought to. Raises InvalidRequest."""
    if rate is not None and rate not in SAMPLE_RATES:
        known = ", ".join(map(str, SAMPLE_RATES))
        raise InvalidRequest(f"sample_rate={rate!r} is none of {known}")


class Resampler:
    """Brings mono s16le audio from one rate to another, as it arrives.

    ``n`` frames of input become exactly `length(n)` frames of output once `finish` was called.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        common = math.gcd(source_rate, target_rate)
        self.source_rate = source_rate
        self.target_rate = target_rate
        self._up, self._down = target_rate // common, source_rate // common
        self._reach = reach(source_rate, target_rate)
        self._held = array("h", bytes(BYTES_PER_SAMPLE * self._reach))
        self._first = -self._reach
        """Frame of the input at which ``_held`` begins; what lies before the audio is silence."""
        self._next = 0

    @property
    def history(self) -> int:
        """Input frames before a cut that `rewind` asks for."""
        return 2 * self._reach

    def length(self, frames: int) -> int:
        """Return the output frames that stand for so many input frames."""
        return -(-frames * self._up // self._down)

    def offset(self, source: int) -> int:
        """Return the byte of the output that stands for a byte of the input, on whole frames."""
        return self.length(source // BYTES_PER_SAMPLE) * BYTES_PER_SAMPLE

    def push(self, pcm: bytes | memoryview) -> bytes:
        """Take more input, and return the output that no later input can change."""
        if self._up == self._down:
            self._next += len(pcm) // BYTES_PER_SAMPLE
            return bytes(pcm)
        self._held.frombytes(_native(bytes(pcm)))
        known = self._first + len(self._held) - self._reach
        return self._output(max(self._next, self.length(max(known, 0))))

    def finish(self) -> bytes:
        """Return what is left of the output: silence follows the input."""
        if self._up == self._down:
            return b""
        frames = self._first + len(self._held)
        self._held.frombytes(bytes(BYTES_PER_SAMPLE * (self._reach + 1)))
        return self._output(self.length(frames))

    def rewind(self, frame: int, history: bytes | memoryview) -> int:
        """Take back the input from ``frame`` on; return the first output frame that is void.

        ``history``: the `history` input frames before it, fewer where the audio begins.
        """
        void = min(self._next, self.length(max(frame - self._reach, 0)))
        missing = self.history - len(history) // BYTES_PER_SAMPLE
        self._held = array("h", bytes(BYTES_PER_SAMPLE * missing))
        self._held.frombytes(_native(bytes(history)))
        self._first = frame - self.history
        self._next = void
        return void

    def _output(self, end: int) -> bytes:
        """Compute the output frames up to ``end``, and forget input that is not needed again."""
        start, self._next = self._next, max(self._next, end)
        if end <= start:
            return b""
        kernel = _kernel(self.source_rate, self.target_rate)
        output = kernel.apply(self._held, self._first, start, end)
        done = end * self._down // self._up - self._reach + 1 - self._first
        if done > 0:
            del self._held[:done]
            self._first += done
        return _native(output.tobytes())


def reach(source_rate: int, target_rate: int) -> int:
    """Return the input frames on each side that an output frame depends on."""
    if source_rate == target_rate:
        return 0
    return math.ceil(_ZERO_CROSSINGS * max(1.0, source_rate / target_rate))


class _Kernel:
    """The filter of one ratio, a row of coefficients for each phase, in plain Python."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
        common = math.gcd(source_rate, target_rate)
        self._up, self._down = target_rate // common, source_rate // common
        self._reach = reach(source_rate, target_rate)
        self._cutoff = _CUTOFF * min(1.0, target_rate / source_rate)
        self._rows: dict[int, list[int]] = {}

    def apply(self, held: array[int], first: int, start: int, end: int) -> array[int]:
        """Compute the output frames [start, end) of input whose first frame is ``first``."""
        width, rounding = 2 * self._reach, 1 << (_UNIT_BITS - 1)
        output = array("h")
        for frame in range(start, end):
            whole, phase = divmod(frame * self._down, self._up)
            at = whole - self._reach + 1 - first
            total = _sum_of_products(held[at : at + width], self.row(phase))
            output.append(min(max((total + rounding) >> _UNIT_BITS, -32_768), 32_767))
        return output

    def row(self, phase: int) -> list[int]:
        """Return the coefficients of a phase; they add up to 1, in units of 2**-15."""
        if phase not in self._rows:
            share = phase / self._up
            weights = [self._weight(at - share) for at in range(1 - self._reach, self._reach + 1)]
            scale = (1 << _UNIT_BITS) / math.fsum(weights)
            row = [round(weight * scale) for weight in weights]
            # Rounded apart they need not add up; a steady level must stay as it is.
            row[row.index(max(row))] += (1 << _UNIT_BITS) - sum(row)
            self._rows[phase] = row
        return self._rows[phase]

    def _weight(self, distance: float) -> float:
        """Return a Kaiser-windowed sine cardinal at a distance in input frames."""
        inside = 1.0 - (distance / self._reach) ** 2
        if inside <= 0.0:
            return 0.0
        angle = math.pi * self._cutoff * distance
        cardinal = math.sin(angle) / angle if angle else 1.0
        return cardinal * _bessel_i0(_KAISER_BETA * math.sqrt(inside))


class _NumpyKernel(_Kernel):
    """The same with numpy. Sums of integers below 2**53 are exact, so the samples are the same."""

    def __init__(self, numpy: Any, source_rate: int, target_rate: int) -> None:
        super().__init__(source_rate, target_rate)
        self._numpy = numpy
        self._table = numpy.array([self.row(phase) for phase in range(self._up)], dtype=float)

    def apply(self, held: array[int], first: int, start: int, end: int) -> array[int]:
        output = array("h")
        samples = self._numpy.array(held, dtype=float)
        windows = self._numpy.lib.stride_tricks.sliding_window_view(samples, 2 * self._reach)
        for block in range(start, end, _BLOCK_FRAMES):
            frames = self._numpy.arange(block, min(block + _BLOCK_FRAMES, end)) * self._down
            at = frames // self._up - self._reach + 1 - first
            rows = self._table[frames % self._up]
            totals = self._numpy.einsum("ij,ij->i", windows[at], rows)
            rounded = self._numpy.floor(totals / (1 << _UNIT_BITS) + 0.5)
            output.frombytes(rounded.clip(-32_768, 32_767).astype("=i2").tobytes())
        return output


@lru_cache(maxsize=32)
def _kernel(source_rate: int, target_rate: int) -> _Kernel:
    try:
        return _NumpyKernel(import_module("numpy"), source_rate, target_rate)
    except ImportError:
        return _Kernel(source_rate, target_rate)


def _bessel_i0(x: float) -> float:
    """Return the modified Bessel function of order 0, as Kaiser's window needs it."""
    total = term = 1.0
    half = x * x / 4.0
    for n in range(1, 64):
        term *= half / (n * n)
        total += term
        if term < total * 1e-17:
            break
    return total


def _native(pcm: bytes) -> bytes:
    """Swap the bytes of s16le samples on a big-endian machine, to and fro."""
    if sys.byteorder == "little":
        return pcm
    samples: array[int] = array("h", pcm)
    samples.byteswap()
    return samples.tobytes()
