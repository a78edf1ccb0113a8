"""Takes: one segment of a job spoken several times, of which one is chosen.

Take 0 is the segment as the job was submitted. Every further take says how it differs. All are
kept in the segment store until the job is deleted, so choosing another one costs no call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from speechfleet.errors import InvalidRequest

MAX_TAKES = 100
"""Takes of one segment."""


@dataclass(frozen=True)
class Take:
    """Describes a way to speak a segment. ``voice``, ``text``: "" is as submitted.

    ``options``: of the provider, beside those of the job. ``again``: how many takes before this
    one ask for the very same; their audio is not reused.
    """

    voice: str = ""
    text: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    again: int = 0

    @property
    def salt(self) -> str:
        """Return what keeps the audio of an equal take from being reused; "" for nothing."""
        return f"take={self.again}" if self.again else ""


@dataclass(frozen=True)
class SegmentTakes:
    """The takes of one segment; ``chosen`` is the number of the one that is heard."""

    takes: tuple[Take, ...] = (Take(),)
    chosen: int = 0

    def with_take(self, take: Take) -> SegmentTakes:
        """Return these takes and another, which is chosen. Raises InvalidRequest."""
        if len(self.takes) >= MAX_TAKES:
            raise InvalidRequest(f"a segment has at most {MAX_TAKES} takes")
        again = sum(replace(other, again=0) == take for other in self.takes)
        return SegmentTakes((*self.takes, replace(take, again=again)), len(self.takes))


@dataclass(frozen=True)
class TakeView:
    """A take of a segment. ``voice``, ``text``: "" is as submitted; ``options``: added ones."""

    segment: int
    number: int
    chosen: bool
    voice: str
    text: str
    options: Mapping[str, Any]


Takes = Mapping[int, SegmentTakes]
"""By the index of the segment; a segment that was spoken once has no entry."""


def encode_takes(takes: Takes) -> str:
    """Write as JSON."""
    fields = {
        str(index): {"chosen": of.chosen, "takes": [asdict(take) for take in of.takes[1:]]}
        for index, of in sorted(takes.items())
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def decode_takes(data: str) -> dict[int, SegmentTakes]:
    """Read what `encode_takes` wrote. Raises ValueError, TypeError, KeyError."""
    fields = json.loads(data) if data else {}
    return {
        int(index): SegmentTakes(
            (Take(), *(Take(**take) for take in of["takes"])), int(of["chosen"])
        )
        for index, of in fields.items()
    }
