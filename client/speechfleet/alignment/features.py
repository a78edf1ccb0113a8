"""Describe the sound of a voice by its spectral shape, 50 times a second."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
"""A row for each frame."""

FRAME_S = 0.02
"""Seconds between two frames."""
_WINDOW_S = 0.032
_BANDS = 26
_COEFFICIENTS = 13
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0
_ROWS_AT_ONCE = 16
"""So few that numpy keeps to one thread: more of them cost three times the CPU, for no gain."""
_FLOOR = 3.0
"""Energy of a band below which all is alike: noise in pauses must not count as sound."""
_LEVEL = 0.1
"""Root mean square that each recording is brought to, full scale being 1."""
_WEIGHT_OF_LOUDNESS, _WEIGHT_OF_SLOPES = 3.0, 0.7
"""Loudness tells syllables and pauses, and is what two voices share most. Measured on recorded
truth, see `tests/unit/client/alignment`."""


def features_of(pcm: bytes | memoryview, rate: int) -> Features:
    """Return 13 cepstral coefficients and their slopes, each normalised over the whole.

    So two voices, or one at two loudnesses, look alike where they speak the same sound.
    """
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    samples *= _LEVEL / max(float(np.sqrt(np.mean(samples**2))), 1e-9)
    static = _cepstrum(samples, rate)
    padded = np.pad(static, ((2, 2), (0, 0)), mode="edge")
    slope = (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10
    both = np.concatenate([static, slope], axis=1)
    spread = both.std(axis=0)
    normal: Features = ((both - both.mean(axis=0)) / np.maximum(spread, 1e-6)).astype(np.float32)
    normal[:, 0] *= _WEIGHT_OF_LOUDNESS
    normal[:, _COEFFICIENTS:] *= _WEIGHT_OF_SLOPES
    return normal


def _cepstrum(samples: NDArray[np.float32], rate: int) -> Features:
    hop, window = round(rate * FRAME_S), round(rate * _WINDOW_S)
    size = 1 << (window - 1).bit_length()
    count = max(1, -(-len(samples) // hop))
    padded = np.pad(samples, (window // 2, count * hop + window - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: count * hop : hop]
    taper = np.hanning(window).astype(np.float32)
    bands, cosines = _bands(rate, size), _cosines()
    rows = []
    for start in range(0, count, _ROWS_AT_ONCE):
        spectrum = np.fft.rfft(frames[start : start + _ROWS_AT_ONCE] * taper, size)
        energy = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ bands
        rows.append(np.log(energy + _FLOOR) @ cosines)
    return np.concatenate(rows)


@cache
def _bands(rate: int, size: int) -> Features:
    """Return triangular filters, evenly spaced as the ear hears (mel scale)."""

    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    top = min(_HIGHEST_HZ, rate / 2)
    edges = 700 * (10 ** (np.linspace(mel(_LOWEST_HZ), mel(top), _BANDS + 2) / 2595) - 1)
    hertz = np.arange(size // 2 + 1) * rate / size
    rising = (hertz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    filters: Features = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


@cache
def _cosines() -> Features:
    band = (np.arange(_BANDS)[:, None] + 0.5) / _BANDS
    cosines: Features = np.cos(np.pi * band * np.arange(_COEFFICIENTS)).astype(np.float32)
    return cosines
