"""Publish audio to the chunk stream: entries of the right size, each at its offset."""

from __future__ import annotations

import asyncio
import time

from speechfleet.chunks import MAX_ACCUMULATED, MAX_ENTRY, MIN_ENTRY, MarkEntry, Started
from speechfleet.errors import InvalidRequest, StreamFull
from speechfleet.ledger import Lease, NoRoom
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings

FULL_STREAM_WAIT_S = 0.25
"""Seconds between tries while the streams hold as much as they may."""
DROP_UNSTORED_AFTER_S = 1.0
"""Seconds without room after which the stream loses audio that is not yet stored."""


class Forgotten(Exception):
    """The server lost audio that this worker no longer holds: go on from the last segment."""


class Publisher:
    """Publish one execution's audio from ``position`` on.

    Small pieces wait for company until there are `MIN_ENTRY` bytes; `flush` sends the rest.
    What was published since the last `checkpoint` is kept, piece by piece and uncopied, so
    that a server which lost its last second can be given it again.
    """

    def __init__(
        self,
        lease: Lease,
        started: Started,
        position: int,
        *,
        limit: int,
        patience: float,
        accumulated: bool,
    ) -> None:
        self._lease = lease
        self._started = started
        self._limit = limit
        self._patience = patience
        self._base = position
        self._end = position
        self._kept: list[bytes] = []  # [base, end)
        self._small = b""
        self._mark: MarkEntry | None = None
        self._so_far: bytearray | None = bytearray() if accumulated else None
        if accumulated and position:
            raise Forgotten  # the accumulated wire has no middle to begin in

    def mark(
        self, index: int, text_start: int, text_end: int, model: str = "", voice: str = ""
    ) -> None:
        """Let a segment begin with the audio that is written next; all before it is flushed.

        ``model``, ``voice``: of a fallback voice.
        """
        self._mark = MarkEntry(index, self._end, text_start, text_end, model, voice)

    async def write(self, pcm: bytes) -> None:
        """Publish audio, as far as it makes entries of a useful size."""
        pcm, self._small = self._small + pcm if self._small else pcm, b""
        for start in range(0, len(pcm), MAX_ENTRY):
            entry = pcm[start : start + MAX_ENTRY]
            if len(entry) < MIN_ENTRY:
                self._small = entry
            else:
                await self._send(entry)

    async def flush(self) -> None:
        """Publish the rest, of any size."""
        small, self._small = self._small, b""
        if small:
            await self._send(small)

    def checkpoint(self) -> None:
        """Drop what was kept: all of it lies in a stored segment."""
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
        """Publish an entry; return the offset up to which the server holds the audio."""
        so_far = None if self._so_far is None else self._accumulated(self._so_far, start, entry)
        mark = self._mark if self._mark and self._mark.offset == start else None
        began, waited = time.monotonic(), 0.0
        while True:
            try:
                held = await self._lease.publish(
                    start,
                    entry,
                    started=self._started,
                    mark=mark,
                    limit=self._limit,
                    so_far=so_far,
                    drop_unstored=waited >= DROP_UNSTORED_AFTER_S,
                )
            except NoRoom:
                waited = time.monotonic() - began
                if waited >= self._patience:
                    raise StreamFull(
                        f"there was no room for audio in Redis for {self._patience:g} s: raise "
                        "SPEECHFLEET_STREAM_BYTES, or run fewer jobs with wire='accumulated'"
                    ) from None
                await asyncio.sleep(FULL_STREAM_WAIT_S)
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
    """Make a publisher for audio from ``position`` on; live jobs get more room than batches."""
    percent = 80 if request.lane is Lane.BATCH else 95
    return Publisher(
        lease,
        started,
        position,
        limit=settings.stream_bytes * percent // 100,
        patience=settings.stream_patience,
        accumulated=request.wire == "accumulated",
    )
