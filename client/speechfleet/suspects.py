"""Find suspect segments: their audio is too short for their text, part of which is missing."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from statistics import median

from speechfleet.json_numbers import is_number
from speechfleet.request import Request

LEAST_OF_USUAL = 0.75
"""The least share of a voice's usual ratio to espeak-ng's speech: ratios differ by some 6 %."""
LEAST = 0.5
"""The least ratio of a voice that is not known yet."""
KNOWN_AFTER = 5
"""Segments that tell how fast a voice speaks."""
REMEMBERED = 500
"""Segments of a voice whose ratios are kept."""


class Paces:
    """The paces of voices, beside which a segment may be too short."""

    def __init__(self) -> None:
        self._ratios: defaultdict[tuple[str, str, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=REMEMBERED)
        )

    def suspects(self, request: Request, ratios: Mapping[int, float]) -> list[int]:
        """Return the segments of a job that probably lack text, by index.

        ``ratios``: of its segments, see `SegmentWords.ratio`. They count for later jobs of the
        voice as well.
        """
        known = self._ratios[request.model, request.voice, request.options_json]
        known.extend(ratios.values())
        least = LEAST / _speed(request)
        # The voices of a dialogue differ in pace.
        if len(known) >= KNOWN_AFTER and len(request.voices) == 1:
            least = LEAST_OF_USUAL * median(known)
        return sorted(index for index, ratio in ratios.items() if ratio < least)


def _speed(request: Request) -> float:
    speed: object = request.options.get("speed")
    if is_number(speed) and speed > 0:
        return float(speed)
    return 1.0
