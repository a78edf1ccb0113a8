"""A batch, and a worker that ends its items as a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from speechfleet.chunks import Finished
from speechfleet.ledger import (
    Batches,
    Claim,
    Connection,
    Jobs,
    Lease,
    Result,
    Workers,
)
from speechfleet.ledger.batch_keys import BatchKeys
from speechfleet.ledger.batches import item_id
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.record import StoredSegment
from speechfleet.request import Lane, Request

NAMESPACE, BATCH = "a tenant", "corpus: 1/2"
END = Finished(96, 1, "audio/x.wav", "audio/wav", "{}")
ACCOUNT = "a%20tenant:espeak"
End = Literal["finish", "fail", "cancel"]


class Spoken:
    """A batch, and a worker that ends its items as it is told."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.jobs, self.batches = Jobs(connection), Batches(connection)
        self.fleet = Workers(connection)

    async def open(self, window: int = 100, **about: str) -> None:
        await self.batches.open(NAMESPACE, BATCH, window=window, about=about)

    async def submit(self, *items: str, text: str = "Hello.") -> None:
        request = Request(text, "espeak/espeak-ng", lane=Lane.BATCH, batch=BATCH)
        for item in items:
            await self.jobs.submit(NAMESPACE, item_id(BATCH, item), request)

    async def claim(self, item: str) -> tuple[Lease, Claim]:
        job = JobKeys(NAMESPACE, item_id(BATCH, item))
        lease = Lease(self.connection.scripts, job, f"boot:{item}", "boot")
        return lease, await lease.claim()

    async def speak(self, item: str, end: End = "finish", **fail: Any) -> str:
        if end == "cancel":
            await self.jobs.cancel(NAMESPACE, item_id(BATCH, item), "not wanted")
            return "cancelled"
        lease, claim = await self.claim(item)
        assert claim.outcome == "granted"
        if end == "fail":
            how = {"code": "rejected", "retryable": False, "of_account": False, **fail}
            return await lease.fail(
                message="no", max_attempts=1, delay=0.0, account=ACCOUNT, usage={}, **how
            )
        usage = {"characters": 6, "billed": 6, "calls": 1, "audio_ms": 500}
        await lease.segment(
            RecordedSegment(StoredSegment(0, 0, 96, 0, 6, "hash"), 24_000, 1 << 20, ACCOUNT, usage)
        )
        assert await lease.finish(END, size=140, rate=24_000)
        return "finished"

    async def results(self, **how: Any) -> list[Result]:
        return await self.batches.results(NAMESPACE, BATCH, wait=0, **how)

    async def waiting(self) -> list[str]:
        jobs = await self.connection.scripts.call("SMEMBERS", BatchKeys(NAMESPACE, BATCH).items)
        return [JobKeys.parse(job.decode()).id.removeprefix(f"{BATCH}/") for job in jobs]

    async def acknowledge(self, results: Sequence[Result]) -> None:
        await self.batches.acknowledge(NAMESPACE, BATCH, results)

    async def keys(self) -> set[bytes]:
        keys: list[bytes] = await self.connection.scripts.call("KEYS", "*")
        return set(keys)
