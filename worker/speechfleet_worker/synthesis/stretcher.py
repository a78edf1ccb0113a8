"""Make the audio of a call faster or slower without changing its pitch."""

from __future__ import annotations

from speechfleet_worker.output.filter_graph import FilterGraph, pcm_of
from speechfleet_worker.synthesis.model_driver import AudioPiece

_LARGEST_STEP = 2.0
"""FFmpeg's atempo leaves samples out above it instead of blending them, and stops at 0.5."""


class Stretcher:
    """Makes one call's audio ``factor`` times as fast; above 1 it becomes shorter."""

    def __init__(self, factor: float) -> None:
        self._filters = [("atempo", f"{step:.6f}") for step in _steps(factor)]
        self._graph: FilterGraph | None = None
        self._last: AudioPiece | None = None

    def stretched(self, piece: AudioPiece) -> AudioPiece:
        """Return the audio that is ready by now, maybe none, in the shape of the piece."""
        if self._graph is None:
            self._graph = FilterGraph(piece.sample_rate, self._filters, channels=piece.channels)
        self._last = piece
        return piece._replace(pcm=pcm_of(self._graph.feed(piece.pcm)))

    def finish(self) -> AudioPiece | None:
        """Return the audio held back; None where there was none at all."""
        if self._graph is None or self._last is None:
            return None
        return self._last._replace(pcm=pcm_of(self._graph.flush()))


def _steps(factor: float) -> list[float]:
    steps: list[float] = []
    while factor > _LARGEST_STEP:
        steps.append(_LARGEST_STEP)
        factor /= _LARGEST_STEP
    while factor < 1 / _LARGEST_STEP:
        steps.append(1 / _LARGEST_STEP)
        factor *= _LARGEST_STEP
    return [*steps, factor]
