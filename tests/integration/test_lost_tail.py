"""A stream whose tail a failover has lost: readers go on, and hear nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from speechfleet.chunks import Chunk, Finished, Rewind, Started, encode
from speechfleet.errors import FleetUnavailable
from speechfleet.ledger import Lease
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.lost_tail import BEGINNING, surviving_entry
from speechfleet.reader import StreamReader
from speechfleet.record import StoredSegment
from speechfleet.request import Request
from speechfleet.settings import Settings

NAMESPACE, RATE = "default", 8000
STARTED = Started(1, "boot", "m", "", f"audio/pcm;rate={RATE}", RATE)
AUDIO = bytes(range(256)) * 40
PIECE = 2_000
AHEAD = "9999999999999"
"""A time at which the clock of the primary that died was, and that of the new one is not."""


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield ledger
    await ledger.close()


@dataclass
class Listener:
    """Hears a job, and tells when so much was heard."""

    reader: StreamReader
    heard: bytes = b""
    chunks: list[Chunk] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        async for chunk in self.reader.chunks():
            assert chunk.offset == len(self.heard), "one unbroken stream"
            self.heard += chunk.delta
            self.chunks.append(chunk)
            self.grown.set()

    async def until(self, size: int) -> None:
        async with asyncio.timeout(60):
            while len(self.heard) < size:
                self.grown.clear()
                await self.grown.wait()


@pytest.mark.parametrize("linear", [False, True], ids=["accumulating", "linear"])
async def test_a_listener_goes_on_and_hears_nothing_twice(ledger: Ledger, linear: bool) -> None:
    call = ledger.connection.scripts.call
    job = JobKeys(NAMESPACE, "a")
    await ledger.jobs.submit(NAMESPACE, "a", Request("Text.", "espeak/espeak-ng"))
    lease = Lease(ledger.connection.scripts, job, "boot:1", "boot")
    assert (await lease.claim()).outcome == "granted"

    async def publish(start: int) -> None:
        piece = AUDIO[start : start + PIECE]
        held = await lease.publish(start, piece, started=STARTED, limit=1 << 20)
        assert held == start + PIECE

    listener = Listener(
        StreamReader(
            ledger.jobs,
            ledger.streams,
            lambda: pytest.fail("nothing is stored"),
            job,
            accumulate=not linear,
            linear=linear,
            resubmit=_never,
        )
    )
    listening = asyncio.create_task(listener.listen())
    await publish(0)
    await publish(PIECE)
    replicated = {key: await call("DUMP", key) for key in (job.record, job.stream(1))}
    # What the primary had, and its replica had not.
    lost = (2 * PIECE, 3 * PIECE)
    entry = ("kind", "audio", "offset", lost[0], "total", lost[1], "data", AUDIO[slice(*lost)])
    await call("XADD", job.stream(1), f"{AHEAD}-1", *entry)
    await listener.until(lost[1])
    for key, dump in replicated.items():
        await call("RESTORE", key, 0, dump, "REPLACE")
    # The worker finds out how much there is, and sends the rest again.
    start = await lease.publish(lost[1], AUDIO[lost[1] :][:PIECE], started=STARTED, limit=1 << 20)
    assert start == lost[0]
    for at in range(start, 5 * PIECE, PIECE):
        await publish(at)
    await listener.until(5 * PIECE)
    segment = StoredSegment(0, 0, 5 * PIECE, 0, 5, "hash")
    assert await lease.segment(RecordedSegment(segment, RATE, 1 << 20, f"{NAMESPACE}:m", {}))
    end = Finished(5 * PIECE, 100, "audio/x.wav", "audio/wav", "{}")
    assert await lease.finish(end, size=10, rate=RATE)
    async with asyncio.timeout(60):
        await listening
    assert listener.heard == AUDIO[: 5 * PIECE]
    assert not any(chunk.rewound for chunk in listener.chunks)


async def test_the_newest_entry_that_is_left_is_found(ledger: Ledger) -> None:
    scripts = ledger.connection.scripts
    entry = encode(Rewind(0, 1, "a test"))
    ids = [(await scripts.call("XADD", "s", "*", *entry)).decode() for _ in range(300)]
    assert await surviving_entry(scripts, "s", ids[-1], set(ids)) is None
    assert await surviving_entry(scripts, "s", f"{AHEAD}-1", set(ids[:100])) == ids[99]
    assert await surviving_entry(scripts, "s", f"{AHEAD}-1", {"1-1"}) == BEGINNING
    assert await surviving_entry(scripts, "none", "1-1", {"1-1"}) == BEGINNING
    assert await surviving_entry(scripts, "none", BEGINNING, ()) is None


async def test_a_job_is_accepted_once_a_replica_has_it(redis_url: str) -> None:
    """This server has none."""
    ledger = Ledger(Settings.load(redis_url=redis_url, accept_replicas=1))
    await ledger.open()
    request = Request("Text.", "espeak/espeak-ng")
    with pytest.raises(FleetUnavailable, match="0 of 1 replicas") as caught:
        await ledger.jobs.submit(NAMESPACE, "a", request)
    assert caught.value.retryable
    with suppress(FleetUnavailable):
        await ledger.jobs.submit_all(NAMESPACE, [("b", request)])
        pytest.fail("accepted without a replica")
    with pytest.raises(FleetUnavailable, match="0 of 1 replicas"):
        await ledger.batches.open(NAMESPACE, "corpus", window=1)
    await ledger.close()


async def _never() -> bool:
    return False
