"""The bytes that chunk streams hold, under random loads against a real server.

Jobs publish in any order under a limit that is far too small for them. Every job comes to its
end, the sums are exact after every step, and readers get all of the audio.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from speechfleet.chunks import MAX_ENTRY, Finished, Started
from speechfleet.errors import JobFailed, StreamFull
from speechfleet.ledger import Lease, NoRoom, keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import GUARANTEED_BYTES, RecordedSegment
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.stream_budget import RECLAIMED_AT_ONCE
from speechfleet.reader import StreamReader
from speechfleet.record import StoredSegment
from speechfleet.request import Request, Wire
from speechfleet.segment_store import SegmentStore
from speechfleet.settings import Settings
from speechfleet.store import Store, open_store

KB = 1 << 10
RATE = 8000
MAX_WAITS = 6
MAX_ROUNDS_WITHOUT_PROGRESS = 8


@dataclass(frozen=True)
class Load:
    """A job: how large its segments are, and how it is published."""

    namespace: str
    segments: tuple[int, ...]
    accumulated: bool = False


loads = st.lists(
    st.builds(
        Load,
        st.sampled_from(["a", "b", "c"]),
        st.lists(st.integers(1, 350).map(lambda kb: 2 * kb * KB), min_size=1, max_size=4).map(
            tuple
        ),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=8,
)


@dataclass
class Execution:
    """Publishes one job, an entry at a time, as a worker does."""

    ledger: Ledger
    store: Store
    id: str
    load: Load
    limit: int
    position: int = 0
    waits: int = 0
    done: bool = False
    failed: bool = False
    error: JobFailed | None = None
    _steps: Iterator[tuple[str, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._audio = random.Random(self.id).randbytes(sum(self.load.segments))
        self._steps = self._plan()
        self._next = next(self._steps)

    @property
    def audio(self) -> bytes:
        return self._audio

    def _plan(self) -> Iterator[tuple[str, int, int]]:
        position = 0
        for index, size in enumerate(self.load.segments):
            end = position + size
            while position < end:
                entry = min(MAX_ENTRY, end - position)
                yield "publish", position, position + entry
                position += entry
            yield "segment", index, end
        yield "finish", 0, position

    async def start(self) -> None:
        wire: Wire = "accumulated" if self.load.accumulated else "delta"
        request = Request("Text.", "espeak/espeak-ng", format="mp3", wire=wire)
        await self.ledger.jobs.submit(self.load.namespace, self.id, request)
        job = JobKeys(self.load.namespace, self.id)
        self.lease = Lease(self.ledger.connection.scripts, job, f"boot:{self.id}", "boot")
        assert (await self.lease.claim()).outcome == "granted"

    async def step(self) -> bool:
        """Take the next step; False where there was no room for it."""
        kind, first, last = self._next
        if kind == "publish":
            try:
                await self._publish(first, last)
            except NoRoom:
                self.waits += 1
                if self.waits < MAX_WAITS:
                    return False
                # An entry of the accumulated wire may be larger than all the room there is.
                assert self.load.accumulated
                await self._give_up()
                return True
            self.waits = 0
        elif kind == "segment":
            await self._record(first, last)
        else:
            end = Finished(last, 1000, "object", "audio/mpeg", "{}")
            assert await self.lease.finish(end, size=1, rate=RATE)
            self.done = True
            return True
        self._next = next(self._steps)
        return True

    async def _publish(self, start: int, end: int) -> None:
        started = Started(1, "boot", "m", "", f"audio/pcm;rate={RATE}", RATE)
        held = await self.lease.publish(
            start,
            self._audio[start:end],
            started=started,
            limit=self.limit,
            so_far=self._audio[:end] if self.load.accumulated else None,
            drop_unstored=self.waits >= 2,
        )
        assert held == end

    async def _give_up(self) -> None:
        self.failed = self.done = True
        await self.lease.fail(
            StreamFull.code, "no room", retryable=True, max_attempts=0, delay=0.0,
            account="a:m", of_account=False, usage={},
        )  # fmt: skip

    async def _record(self, index: int, end: int) -> None:
        start = end - self.load.segments[index]
        segment = StoredSegment(index, start, end, index, index + 1, f"{self.id}-{index}")
        segments = SegmentStore(self.store, self.load.namespace)
        await segments.save(segment.hash, self._audio[start:end], RATE)
        account = f"{self.load.namespace}:m"
        assert await self.lease.segment(
            RecordedSegment(segment, RATE, 32 << 20, account, {"calls": 1})
        )

    async def read(self) -> bytes:
        """All of the audio, as a listener gets it who was there from the start."""
        reader = StreamReader(
            self.ledger.jobs, self.ledger.streams, lambda: self.store, self.lease.job,
            accumulate=True, linear=False, resubmit=_never,
        )  # fmt: skip
        heard = b""
        try:
            async for chunk in reader.chunks():
                heard = bytes(chunk.audio) if chunk.is_last else heard
        except JobFailed as error:
            self.error = error
        return heard


async def _never() -> bool:
    return False


async def counted_bytes(ledger: Ledger) -> int:
    """The counter, after it was compared with everything that it sums up."""
    redis: Any = ledger.connection.redis
    total = int(await redis.get(keys.BYTES) or 0)
    sizes = {k.decode(): int(v) for k, v in (await redis.hgetall(keys.STREAM_SIZES)).items()}
    namespaces = [int(v) for v in (await redis.hgetall(keys.NAMESPACE_SIZES)).values()]
    held = 0
    for stream, size in sizes.items():
        entries = await redis.xrange(stream)
        assert size == sum(len(fields.get(b"data", b"")) for _, fields in entries)
        held += size
    assert total == held == sum(namespaces)
    return total


async def expire_all(ledger: Ledger) -> None:
    """Let the time of every ended stream be over."""
    redis: Any = ledger.connection.redis
    for stream in await redis.zrange(keys.EXPIRING, 0, -1):
        await redis.zadd(keys.EXPIRING, {stream: 0})
    await ledger.stream_budget.reclaim()


async def run_loads(url: str, store: Store, loads: list[Load], limit: int, seed: int) -> None:
    ledger = Ledger(Settings.load(redis_url=url, stream_bytes=limit))
    await ledger.connection.redis.flushall()
    await ledger.open()
    try:
        jobs = [
            Execution(ledger, store, f"{seed}-{number}", load, limit)
            for number, load in enumerate(loads)
        ]
        for job in jobs:
            await job.start()
        listeners = [asyncio.create_task(job.read()) for job in jobs]
        order, rounds_without_progress = random.Random(seed), 0
        most = limit + len(jobs) * GUARANTEED_BYTES
        while running := [job for job in jobs if not job.done]:
            order.shuffle(running)
            progress = [await job.step() for job in running]
            rounds_without_progress = 0 if any(progress) else rounds_without_progress + 1
            assert rounds_without_progress < MAX_ROUNDS_WITHOUT_PROGRESS, "the fleet stands still"
            assert await counted_bytes(ledger) <= most
        for job, heard in zip(jobs, await asyncio.gather(*listeners), strict=True):
            assert heard == (b"" if job.failed else job.audio)
            if job.failed:
                assert job.error is not None
                assert (job.error.code, job.error.retryable) == (StreamFull.code, True)
        await expire_all(ledger)
        assert await counted_bytes(ledger) == 0
    finally:
        await ledger.close()


def test_jobs_that_fill_the_streams_all_come_to_their_end(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()

    @settings(
        max_examples=12,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(loads, st.integers(256, 2048), st.integers(0, 1 << 16))
    def prove(loads: list[Load], limit: int, seed: int) -> None:
        async def go() -> None:
            store = open_store((tmp_path / "objects").as_uri())
            try:
                await run_loads(redis_url, store, loads, limit * KB, seed)
            finally:
                await store.close()

        asyncio.run(go())

    prove()


async def test_a_namespace_that_fills_the_streams_leaves_room_for_another(
    redis_url: str, tmp_path: Path
) -> None:
    """The other one's windows are as large as its share, though the first came before."""
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    store, limit = open_store(tmp_path.as_uri()), 2048 * KB
    crowd = [Execution(ledger, store, f"a{n}", Load("a", (700 * KB,)), limit) for n in range(6)]
    other = Execution(ledger, store, "b", Load("b", (900 * KB,)), limit)
    for job in [*crowd, other]:
        await job.start()
    for _ in range(10):
        for job in crowd:
            await job.step()
    while not other.waits and await size_of(ledger, other) < 320 * KB:
        await other.step()
    assert await size_of(ledger, other) >= 320 * KB
    await store.close()
    await ledger.close()


async def size_of(ledger: Ledger, job: Execution) -> int:
    stream = JobKeys(job.load.namespace, job.id).stream(1)
    return int(await ledger.connection.scripts.call("HGET", keys.STREAM_SIZES, stream) or 0)


async def test_a_job_that_is_deleted_gives_its_bytes_back_each_time(
    redis_url: str, tmp_path: Path
) -> None:
    """Deleted and submitted again under the same id, within the life of its stream."""
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    store = open_store(tmp_path.as_uri())
    for _ in range(3):
        job = Execution(ledger, store, "same", Load("a", (64 * KB,)), 1 << 30)
        await job.start()
        while not job.done:
            await job.step()
        assert await counted_bytes(ledger) == 64 * KB
        await ledger.jobs.delete("a", "same")
        assert await counted_bytes(ledger) == 0
    await store.close()
    await ledger.close()


async def test_all_expired_streams_are_removed_a_few_at_a_time(redis_url: str) -> None:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    redis: Any = ledger.connection.redis
    await redis.flushall()
    await ledger.open()
    try:
        count = 2 * RECLAIMED_AT_ONCE + 1
        streams = [JobKeys("default", f"job-{number}").stream(1) for number in range(count)]
        for stream in streams:
            await redis.xadd(stream, {"kind": "audio"})
            await redis.zadd(keys.EXPIRING, {stream: 0})
        assert await ledger.stream_budget.reclaim() == count
        assert await redis.exists(*streams) == 0
        assert await redis.zcard(keys.EXPIRING) == 0
    finally:
        await ledger.close()
