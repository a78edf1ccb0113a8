"""Audio onto the chunk stream: entries of the right size, each at its offset, under the token."""

from __future__ import annotations

import asyncio

from speechfleet.chunks import MAX_ACCUMULATED, MAX_ENTRY, MIN_ENTRY, Started
from speechfleet.errors import InvalidRequest
from speechfleet.jobs import Lane, Request
from speechfleet.ledger import Lease, StreamFull
from speechfleet.settings import Settings

FULL_WAIT = 0.25
"""Seconds between tries while the streams hold as much as they may."""


class Forgotten(Exception):
    """The server lost audio (its last second) that is no longer at hand: go on from a segment."""


class Publisher:
    """Publishes one execution's audio from ``position`` on.

    Small pieces wait for company until there are `MIN_ENTRY` bytes; `flush` sends the rest.
    What was published since the last `checkpoint` is kept, piece by piece and uncopied, so
    that a server which lost its last second can be given it again.
    """

    def __init__(
        self, lease: Lease, started: Started, position: int, *, limit: int, accumulated: bool
    ) -> None:
        self._lease = lease
        self._started = started
        self._limit = limit
        self._base = position
        self._end = position
        self._kept: list[bytes] = []  # [base, end)
        self._small = b""
        self._so_far: bytearray | None = bytearray() if accumulated else None
        if accumulated and position:
            raise Forgotten  # the accumulated wire has no middle to begin in

    async def write(self, pcm: bytes) -> None:
        pcm, self._small = self._small + pcm if self._small else pcm, b""
        for start in range(0, len(pcm), MAX_ENTRY):
            entry = pcm[start : start + MAX_ENTRY]
            if len(entry) < MIN_ENTRY:
                self._small = entry
            else:
                await self._send(entry)

    async def flush(self) -> None:
        small, self._small = self._small, b""
        if small:
            await self._send(small)

    def checkpoint(self) -> None:
        """All that was sent lies in a stored segment: it need not be kept."""
        self._base = self._end
        self._kept.clear()

    async def _send(self, entry: bytes) -> None:
        start = self._end
        self._kept.append(entry)
        self._end += len(entry)
        held = await self._publish(start, entry)
        while held < self._end:  # the server lost its last second
            again = b"".join(self._kept)[held - self._base :]
            held = await self._publish(held, again[:MAX_ENTRY])

    async def _publish(self, start: int, entry: bytes) -> int:
        """Up to where the server holds the audio now."""
        so_far = None if self._so_far is None else self._accumulated(self._so_far, start, entry)
        while True:
            try:
                held = await self._lease.publish(
                    start, entry, started=self._started, limit=self._limit, so_far=so_far
                )
            except StreamFull:
                await asyncio.sleep(FULL_WAIT)
                continue
            if held < self._base:
                raise Forgotten
            return held

    def _accumulated(self, so_far: bytearray, start: int, entry: bytes) -> bytes:
        del so_far[start:]
        so_far += entry
        if len(so_far) > MAX_ACCUMULATED:
            raise InvalidRequest(
                f"wire='accumulated' carries at most {MAX_ACCUMULATED >> 20} MB of audio: "
                "use the normal wire, every reader accumulates it",
                code="audio_too_long",
            )
        return bytes(so_far)


def open_publisher(
    settings: Settings, lease: Lease, request: Request, started: Started, position: int
) -> Publisher:
    """For audio from ``position`` on. Live jobs go on where batches have to wait for room."""
    percent = 80 if request.lane is Lane.BATCH else 95
    return Publisher(
        lease,
        started,
        position,
        limit=settings.stream_bytes * percent // 100,
        accumulated=request.wire == "accumulated",
    )
