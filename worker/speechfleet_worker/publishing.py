"""Audio onto the chunk stream: entries of the right size, each at its offset, under the token."""

from __future__ import annotations

import asyncio

from speechfleet.chunks import MAX_ACCUMULATED, MAX_ENTRY, MIN_ENTRY, Started
from speechfleet.errors import InvalidRequest
from speechfleet.ledger import Lease, StreamFull

FULL_WAIT = 0.25
"""Seconds between tries while the streams hold as much as they may."""


class Forgotten(Exception):
    """The server lost audio (its last second) that is no longer at hand: go on from a segment."""


class Publisher:
    """Publishes one execution's audio from ``position`` on.

    Small pieces wait for company until there are `MIN_ENTRY` bytes; `flush` sends the rest.
    What was published since the last `checkpoint` is kept, so that a server which lost its
    last second can be given it again.
    """

    def __init__(
        self, lease: Lease, started: Started, position: int, *, limit: int, accumulated: bool
    ) -> None:
        self._lease = lease
        self._started = started
        self._limit = limit
        self._base = position
        self._kept = bytearray()
        self._sent = position
        self._so_far: bytearray | None = bytearray() if accumulated else None
        if accumulated and position:
            raise Forgotten  # the accumulated wire has no middle to begin in

    @property
    def position(self) -> int:
        """Bytes of the job's audio, including those not yet sent."""
        return self._base + len(self._kept)

    async def write(self, pcm: bytes) -> None:
        self._kept += pcm
        while self.position - self._sent >= MIN_ENTRY:
            await self._send(min(MAX_ENTRY, self.position - self._sent))

    async def flush(self) -> None:
        while self._sent < self.position:
            await self._send(min(MAX_ENTRY, self.position - self._sent))

    def checkpoint(self) -> None:
        """All that was written lies in a stored segment: it need not be kept."""
        self._base = self.position
        self._kept = bytearray()

    async def _send(self, size: int) -> None:
        at = self._sent - self._base
        data = bytes(self._kept[at : at + size])
        so_far = None
        if self._so_far is not None:
            del self._so_far[self._sent :]
            self._so_far += data
            if len(self._so_far) > MAX_ACCUMULATED:
                raise InvalidRequest(
                    f"wire='accumulated' carries at most {MAX_ACCUMULATED >> 20} MB of audio: "
                    "use the normal wire, every reader accumulates it",
                    code="audio_too_long",
                )
            so_far = bytes(self._so_far)
        try:
            held = await self._lease.publish(
                self._sent, data, started=self._started, limit=self._limit, so_far=so_far
            )
        except StreamFull:
            await asyncio.sleep(FULL_WAIT)
            return
        if held < self._base:
            raise Forgotten
        self._sent = held
