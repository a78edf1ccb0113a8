"""The counts of one run of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from speechfleet.batch.manifest import Entry
from speechfleet.batch.pricing import Spending
from speechfleet.lifecycle import State


@dataclass
class Summary:
    """Count the results of a run.

    ``skipped``: done by an earlier run. ``cached``: spoken without a call of the provider.
    ``seconds``: of audio. ``took``: seconds of the run. ``spent``: characters billed, and their
    estimated price. ``cut_short``: the spending limit was reached.
    """

    id: str
    succeeded: int = 0
    failed: int = 0
    cached: int = 0
    skipped: int = 0
    seconds: float = 0.0
    took: float = 0.0
    spent: Spending = field(default_factory=Spending)
    cut_short: bool = False
    suspect: int = 0
    """Items with segments that probably lack text."""
    spoken_by: Counter[str] = field(default_factory=Counter)
    """Items by the model that spoke them, where theirs leaves that to others."""

    def count(self, entries: Sequence[Entry]) -> None:
        """Add what ended."""
        for entry in entries:
            is_good = entry["state"] == State.SUCCEEDED
            self.succeeded += is_good
            self.failed += not is_good
            self.cached += is_good and not entry["billed"]
            self.suspect += "suspect" in entry
            self.seconds += entry["duration"]
            self.spoken_by.update(entry.get("spoken_by", ()))
