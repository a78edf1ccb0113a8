"""Decides which workers are dead and which job messages are lost, without I/O."""

from __future__ import annotations

from collections.abc import Mapping

from speechfleet.ledger.message import JobMessage

MAX_GAP_S = 1.0
"""Seconds between two looks of the detector above which it begins to count anew."""
DEAD_AFTER_S = 3.0
"""Seconds without a heartbeat after which a worker is dead."""
LOST_AFTER_S = 2.5
"""Seconds after which a popped message that no worker holds is lost."""


class FailureDetector:
    """Finds dead workers by repeated looks at heartbeat counters. No I/O, no clock of its own.

    A worker is dead when its counter stood still for `DEAD_AFTER_S` seconds of looks without a
    gap, over one connection. A gap (this process was stopped, Redis was away) or another
    connection (the server was restarted) starts every count again: otherwise a pause of Redis
    would kill every worker.
    """

    def __init__(self) -> None:
        self._last_look = float("-inf")
        self._connects = -1
        self._seen: dict[str, tuple[int, float]] = {}

    def look(self, now: float, connects: int, heartbeats: Mapping[str, int]) -> list[str]:
        """Take one look at the counters by boot id, and return the boot ids that are dead.

        ``connects`` counts the connections to the server that this process has made.
        """
        if now - self._last_look > MAX_GAP_S or connects != self._connects:
            self._seen.clear()
        self._last_look, self._connects = now, connects
        self._seen = {
            boot: seen
            if (seen := self._seen.get(boot)) is not None and seen[0] == count
            else (count, now)
            for boot, count in heartbeats.items()
        }
        return [boot for boot, (_, since) in self._seen.items() if now - since >= DEAD_AFTER_S]


class LostMessages:
    """Finds popped messages whose job stays queued for too long. No I/O."""

    def __init__(self) -> None:
        self._since: dict[JobMessage, float] = {}

    def look(self, now: float, popped: set[JobMessage]) -> set[JobMessage]:
        """Return those of the popped messages that have been so for `LOST_AFTER_S`."""
        self._since = {message: self._since.get(message, now) for message in popped}
        return {message for message, since in self._since.items() if now - since >= LOST_AFTER_S}
