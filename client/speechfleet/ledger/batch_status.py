"""The state of a batch, and what the fleet has counted of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from speechfleet.lifecycle import State
from speechfleet.record import in_seconds

_ABOUT = "about."
"""Prefix of the fields that hold the notes of the client that opened the batch."""
_USAGE = "usage."
"""Prefix of the fields that sum up usage."""


class BatchState(StrEnum):
    """The state of a batch."""

    VALIDATING = "validating"
    """A gateway checks its input file; then it is open."""
    OPEN = "open"
    """It takes items, and its jobs run."""
    STOPPED = "stopped"
    """An error stopped it that every further item would meet: a key refused, no credit left."""
    CANCELLED = "cancelled"
    """A client cancelled it."""
    EXPIRED = "expired"
    """Its completion window ended before its items."""
    ENDED = "ended"
    """It has no results left to acknowledge."""


UNDER_WAY = (BatchState.VALIDATING, BatchState.OPEN)
"""States in which a batch has items to come."""


@dataclass(frozen=True)
class BatchStatus:
    """A batch as the fleet counts it. Times are the server's, in Unix seconds.

    ``opened``: when it first took items; ``expires``: when its completion window ends, 0 where
    it has none; ``outstanding``: items that are queued or running; ``unread``: ended, and not
    acknowledged; ``cached``: synthesized without a call to a provider; ``about``: notes of the
    client that opened it; ``usage``: as a job's.
    """

    id: str
    state: BatchState
    code: str
    message: str
    created: float
    updated: float
    window: int
    about: Mapping[str, str]
    submitted: int
    outstanding: int
    unread: int
    succeeded: int
    failed: int
    cancelled: int
    cached: int
    usage: Mapping[str, float]
    opened: float = 0.0
    expires: float = 0.0

    @property
    def total(self) -> int | None:
        """Return the number of items that its client noted; None where that is not known."""
        noted = self.about.get("total", "")
        return int(noted) if noted.isascii() and noted.isdigit() else None

    @property
    def ended(self) -> int:
        """Count the items that have ended, those of earlier runs included."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def done(self) -> int:
        """Count the items that have ended as they are now: never more than there are.

        An item whose text was changed ends once more, and both ends are counted.
        """
        if self.total is None:
            return self.ended
        return min(self.ended, max(0, self.total - self.outstanding))

    @classmethod
    def decode(
        cls, id: str, raw: Mapping[bytes, bytes], outstanding: int, unread: int
    ) -> BatchStatus:
        """Read the fields of a batch. Raises ValueError, KeyError."""
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        get = fields.get
        return cls(
            id=id,
            state=BatchState(fields["state"]),
            code=get("code", ""),
            message=get("message", ""),
            created=int(fields["created"]) / 1000,
            updated=int(fields["updated"]) / 1000,
            window=int(get("window", 0)),
            about={k.removeprefix(_ABOUT): v for k, v in fields.items() if k.startswith(_ABOUT)},
            submitted=int(get("submitted", 0)),
            outstanding=int(outstanding),
            unread=int(unread),
            succeeded=int(get(State.SUCCEEDED, 0)),
            failed=int(get(State.FAILED, 0)),
            cancelled=int(get(State.CANCELLED, 0)),
            cached=int(get("cached", 0)),
            usage=sums_of(fields),
            opened=int(get("opened", 0)) / 1000,
            expires=int(get("expires", 0)) / 1000,
        )


def notes_as_fields(about: Mapping[str, str]) -> Iterable[str]:
    """Return notes as names and values of fields, in turn."""
    return (part for key, value in about.items() for part in (_ABOUT + key, value))


def sums_of(fields: Mapping[str, str]) -> dict[str, float]:
    """Return the sums of usage among the fields of a batch or of its item's end."""
    return in_seconds(
        {k.removeprefix(_USAGE): int(v) for k, v in fields.items() if k.startswith(_USAGE)}
    )
