"""Bring a job's audio to a loudness: measured as it is spoken, applied to the stored object.

Loudness is that of ITU-R BS.1770-4 / EBU R128, as FFmpeg's ``ebur128`` measures it.
"""

from __future__ import annotations

import math

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet_worker.output.filter_graph import FilterGraph, pcm_of

TRUE_PEAK_DB = -1.0
"""The highest true peak of the stored audio, in dB of full scale."""
SILENT_LUFS = -70.0
"""The gate of R128: audio that is not above it has no loudness."""
MOST_GAIN_DB = 40.0
_OVERSAMPLED = 4


class LoudnessMeter:
    """Measures mono PCM of one rate, in the order in which it is spoken."""

    def __init__(self, sample_rate: int) -> None:
        self._graph = FilterGraph(
            sample_rate, [("ebur128", "metadata=1:peak=true:framelog=quiet")]
        )
        self._loudness = -math.inf
        self._peak = 0.0

    def feed(self, pcm: bytes) -> None:
        """Measure more audio."""
        for frame in self._graph.feed(pcm):
            self._take(dict(frame.metadata))

    def finish(self) -> tuple[float, float]:
        """Return the integrated loudness in LUFS and the true peak in dB of full scale."""
        for frame in self._graph.flush():
            self._take(dict(frame.metadata))
        return self._loudness, 20 * math.log10(self._peak) if self._peak > 0 else -math.inf

    def _take(self, metadata: dict[str, str]) -> None:
        self._loudness = float(metadata.get("lavfi.r128.I", self._loudness))
        self._peak = max(self._peak, float(metadata.get("lavfi.r128.true_peak", 0.0)))


def gain_for(target: float, loudness: float) -> float:
    """Return the gain in dB that brings audio to the target; 0 for what is silent."""
    if loudness <= SILENT_LUFS:
        return 0.0
    return round(min(target - loudness, MOST_GAIN_DB), 2)


class Amplifier:
    """Applies a gain; where that would pass `TRUE_PEAK_DB`, a limiter takes the peaks down.

    ``true_peak``: of what is fed, in dB. No sample is shifted, and none is added or lost.
    """

    def __init__(self, sample_rate: int, gain: float, true_peak: float) -> None:
        filters = [("volume", f"volume={gain}dB:precision=float")]
        if true_peak + gain > TRUE_PEAK_DB:
            limit = 10 ** ((TRUE_PEAK_DB - 0.1) / 20)
            filters += [
                ("aresample", f"{sample_rate * _OVERSAMPLED}"),
                ("alimiter", f"limit={limit:.6f}:attack=5:release=50:level=false:latency=true"),
                ("aresample", f"{sample_rate}"),
            ]
        self._graph = FilterGraph(sample_rate, filters)
        self._fed = self._given = 0

    def feed(self, pcm: bytes) -> bytes:
        """Return the next bytes, maybe none yet."""
        self._fed += len(pcm)
        return self._fitted(pcm_of(self._graph.feed(pcm)))

    def finish(self) -> bytes:
        """Return the bytes held back, as many as are missing."""
        rest = self._fitted(pcm_of(self._graph.flush()))
        missing = self._fed - self._given
        self._given += missing
        return rest + bytes(missing - missing % BYTES_PER_SAMPLE)

    def _fitted(self, pcm: bytes) -> bytes:
        pcm = pcm[: self._fed - self._given]
        self._given += len(pcm)
        return pcm
