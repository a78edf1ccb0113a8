"""Caps on the open connections of a gateway process, in all and per address."""

from __future__ import annotations

import sys
from typing import Protocol

if sys.platform != "win32":
    import resource

DESCRIPTOR_SHARE = 2
"""Connections may use one in so many of the descriptors that the process may open."""
SPARE_DESCRIPTORS = 256


class Evictable(Protocol):
    """A connection that the limits can end."""

    def evict(self) -> None:
        """End the connection, which has no request under way."""


class ConnectionLimits:
    """Admit connections; make room by ending the one that has been idle for longest.

    A connection is idle while it has no request under way: it has sent none yet, only a part of
    a head, or waits for the next one. Where none is idle a new connection is refused.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._addresses: dict[Evictable, str] = {}
        self._counts: dict[str, int] = {}
        self._idle: dict[Evictable, None] = {}  # in the order in which they became idle

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def capacity(self) -> int:
        """The number of connections that may be open now."""
        return min(self._total, max(1, _descriptor_limit() // DESCRIPTOR_SHARE))

    def admit(self, connection: Evictable, address: str) -> bool:
        """Count a new connection, which is idle; False where there is no room for it."""
        is_crowded = self._counts.get(address, 0) >= self._per_address
        if is_crowded and not self._evict(address):
            return False
        if len(self) >= self.capacity and not self._evict():
            return False
        self._addresses[connection] = address
        self._counts[address] = self._counts.get(address, 0) + 1
        self._idle[connection] = None
        return True

    def mark_active(self, connection: Evictable) -> None:
        """Keep the connection from eviction: a request is under way."""
        self._idle.pop(connection, None)

    def mark_idle(self, connection: Evictable) -> None:
        """Allow the eviction of the connection again, after all that are idle already."""
        if connection in self._addresses:
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def remove(self, connection: Evictable) -> None:
        """Forget a connection that has ended; idempotent."""
        self._idle.pop(connection, None)
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def _evict(self, address: str | None = None) -> bool:
        for connection in self._idle:
            if address is None or self._addresses[connection] == address:
                self.remove(connection)
                connection.evict()
                return True
        return False


def raise_descriptor_limit(connections: int) -> None:
    """Let this process open what so many connections need, as far as the system allows."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTOR_SHARE * connections + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def _descriptor_limit() -> int:
    """Return the limit at this moment: an operator may change it while the process runs."""
    if sys.platform == "win32":
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
