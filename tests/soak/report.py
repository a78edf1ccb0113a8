"""What a leg of the soak did and found, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SHOWN = 40
"""Violations that are shown of one leg."""


@dataclass
class Report:
    """One leg. ``counts``: what was asked for and heard, by the names that `lines` uses."""

    leg: str
    about: str
    seed: int
    faults: Counter[str]
    counts: Mapping[str, int]
    violations: Sequence[str]
    seconds_of_faults: float
    seconds: float
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table."""
        n = Counter(self.counts)
        yield f"{self.leg}: {self.about}; seed {self.seed}"
        yield _row("time", f"{self.seconds:.0f} s", f"{self.seconds_of_faults:.0f} s with faults")
        kinds = [f"{count} x {name.replace('_', ' ')}" for name, count in self.faults.items()]
        yield _row("faults", self.faults.total(), ", ".join(sorted(kinds, key=_by_name)))
        yield _row(
            "jobs", n["submitted"],
            f"{n['submitted twice']:,} sent twice, {n['cancelled']:,} cancelled, "
            f"{n['retried']:,} retried, {n['deleted']:,} deleted",
        )  # fmt: skip
        yield _row("sessions", n["sessions"], "")
        yield _row("batches", n["batches"], f"{n['items']:,} items")
        listeners = [n[f"heard by {how}"] for how in ("client", "HTTP", "session")]
        yield _row(
            "listeners", sum(listeners) + n["left early"],
            f"to the end: {listeners[0]:,} by client, {listeners[1]:,} by HTTP, "
            f"{listeners[2]:,} of sessions; {n['left early']:,} left early",
        )  # fmt: skip
        yield _row("chunks", n["chunks"], f"heard by clients, with {n['rewinds']:,} rewinds")
        yield _row(
            "calls", n["calls made"],
            f"of the provider; {n['calls billed']:,} billed, "
            f"{n['calls repeated']:,} for a text that had been spoken before",
        )  # fmt: skip
        for note in self.notes:
            yield f"  note: {note}"
        for line in self.violations[:SHOWN]:
            yield f"  VIOLATION {line}"
        yield _row("violations", len(self.violations), "")


def _row(name: str, value: object, details: str) -> str:
    shown = f"{value:,}" if isinstance(value, int) else str(value)
    return f"  {name:<11}{shown:>7}  {details}".rstrip()


def _by_name(kind: str) -> str:
    return kind.partition(" x ")[2]
