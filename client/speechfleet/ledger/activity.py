"""The last hour of a namespace, minute by minute: ends of jobs, and waits for first audio."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.lifecycle import State

MINUTE_S = 60
MINUTES = 60
"""Minutes that are shown; Redis keeps them twice as long."""
BUCKET = 1.25
"""Each bucket of times is so much longer than the one before; see `lua/include/minutes.lua`."""
_FIRST_AUDIO = "first"


@dataclass(frozen=True)
class Waits:
    """Waits of jobs for their first audio: counts by bucket of milliseconds."""

    buckets: Mapping[int, int]

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    def quantile(self, part: float) -> float | None:
        """Return the seconds within which this part had audio, to some 12 %; None without jobs."""
        left = part * self.count
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return float(BUCKET ** (bucket + 0.5)) / 1000
        return None

    @classmethod
    def together(cls, parts: Iterable[Waits]) -> Waits:
        """Add them up."""
        buckets: Counter[int] = Counter()
        for part in parts:
            buckets.update(part.buckets)
        return cls(buckets)


@dataclass(frozen=True)
class Minute:
    """The jobs that ended in one minute, which began at ``at`` (Unix seconds, the server's).

    ``seconds``: of speech that they made; ``first_audio``: by lane, of jobs whose first audio
    came in this minute.
    """

    at: float
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    seconds: float = 0.0
    first_audio: Mapping[str, Waits] = field(default_factory=dict)

    @classmethod
    def decode(cls, at: float, raw: Mapping[bytes, bytes]) -> Minute:
        """Read a minute's counts; fields that this version does not know are left out."""
        fields = {name.decode(): int(value) for name, value in raw.items()}
        waits: dict[str, dict[int, int]] = {}
        for name, count in fields.items():
            kind, *labels = name.split(":")
            if kind == _FIRST_AUDIO and len(labels) == 2:
                waits.setdefault(labels[0], {})[int(labels[1])] = count
        return cls(
            at=at,
            succeeded=fields.get(State.SUCCEEDED, 0),
            failed=fields.get(State.FAILED, 0),
            cancelled=fields.get(State.CANCELLED, 0),
            seconds=fields.get("audio_ms", 0) / 1000,
            first_audio={lane: Waits(buckets) for lane, buckets in waits.items()},
        )


@dataclass(frozen=True)
class Activity:
    """A namespace at one moment, and its last minutes, the current one last.

    ``time``: the server's, Unix seconds; ``oldest``: seconds for which the queued job that waits
    longest has waited, None where none does.
    """

    time: float
    minutes: list[Minute]
    oldest: float | None


class Activities:
    """Reads what scripts count by the minute when a job gets its first audio, and at its end."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def of(self, namespace: str) -> Activity:
        """Read the last `MINUTES` minutes of a namespace."""
        call = self._scripts.call
        first = call("ZRANGE", keys.index(namespace, State.QUEUED), 0, 0, "WITHSCORES")
        now, waiting = await asyncio.gather(self._scripts.time(), first)
        last = int(now) // MINUTE_S
        numbers = range(last - MINUTES + 1, last + 1)
        prefix = keys.minutes(namespace)
        found = await asyncio.gather(*(call("HGETALL", f"{prefix}{number}") for number in numbers))
        return Activity(
            now,
            [
                Minute.decode(number * MINUTE_S, raw)
                for number, raw in zip(numbers, found, strict=True)
            ],
            max(0.0, now - float(waiting[1]) / 1000) if waiting else None,
        )
