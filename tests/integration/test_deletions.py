"""What a deleted job leaves in the store goes, also what its worker writes too late; what other
jobs use stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from speechfleet.audio import wav
from speechfleet.chunks import Finished
from speechfleet.erasure import erase_objects, sweep_deleted
from speechfleet.ledger import Lease, LeaseLost
from speechfleet.ledger.deletions import SWEPT_FOR_S, Deletion, Leftovers
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.rate_limits import Call
from speechfleet.record import StoredSegment
from speechfleet.request import Request
from speechfleet.segment_store import SegmentStore
from speechfleet.settings import Settings
from speechfleet.store import Store, layout, open_store

NAMESPACE, MODEL, RATE = "default", "espeak/espeak-ng", 8000
PCM = b"\1\0" * 800


class Desk:
    """Jobs that are synthesized here, by hand."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.ledger, self.store = ledger, store
        self.segments = SegmentStore(store, NAMESPACE)

    async def claim(self, id: str) -> Lease:
        await self.ledger.jobs.submit(NAMESPACE, id, Request("Text.", MODEL))
        scripts = self.ledger.connection.scripts
        lease = Lease(scripts, JobKeys(NAMESPACE, id), f"boot:{id}", "boot")
        assert (await lease.claim()).outcome == "granted"
        return lease

    async def begin(self, lease: Lease, hash: str) -> None:
        taken = await self.ledger.rate_limiter.acquire(
            lease, Call(MODEL, "live", hash, 0, units=5)
        )
        assert taken.outcome == "granted"

    async def store_audio(self, lease: Lease, hash: str, *, note: bool) -> str:
        """As a worker does: the object, and the segment, which may be a note of it."""
        key = layout.audio_object(NAMESPACE, lease.job.id, lease.token, "wav")
        await self.store.put(key, wav.encode(PCM, RATE), media_type="audio/wav")
        if note:
            await self.segments.refer(hash, key, RATE)
        else:
            await self.segments.save(hash, PCM, RATE)
        return key

    async def finish(self, lease: Lease, hash: str, key: str) -> None:
        segment = StoredSegment(0, 0, len(PCM), 0, 5, hash)
        assert await lease.segment(RecordedSegment(segment, RATE, 1 << 20, f"{NAMESPACE}:m", {}))
        end = Finished(len(PCM), 100, key, "audio/wav", "{}")
        assert await lease.finish(end, size=10, rate=RATE)

    async def speak(self, id: str, hash: str, *, note: bool = True) -> str:
        lease = await self.claim(id)
        key = await self.store_audio(lease, hash, note=note)
        await self.finish(lease, hash, key)
        return key

    async def delete(self, id: str) -> Leftovers:
        while (leftovers := await self.ledger.jobs.delete(NAMESPACE, id)) == "running":
            await self.ledger.jobs.cancel(NAMESPACE, id, "deleted")
        return leftovers

    async def objects(self) -> list[str]:
        return [*await self.store.list("audio/"), *await self.store.list("segments/")]


@pytest.fixture
async def desk(redis_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    store = open_store(tmp_path.as_uri())
    yield Desk(ledger, store)
    await store.close()
    await ledger.close()


async def test_what_is_stored_after_the_deletion_is_swept(desk: Desk) -> None:
    lease = await desk.claim("a")
    await desk.begin(lease, "hash-a")
    leftovers = await desk.delete("a")
    await erase_objects(desk.store, NAMESPACE, "a", leftovers)
    await desk.store_audio(lease, "hash-a", note=False)  # its worker, a moment too late
    assert len(await desk.objects()) == 2
    assert await sweep_deleted(desk.ledger, desk.store, NAMESPACE, "a")
    assert await desk.objects() == []


async def test_a_deletion_that_the_store_refused_can_be_repeated(desk: Desk) -> None:
    await desk.speak("a", "hash-a", note=False)
    first, second = await desk.delete("a"), await desk.delete("a")
    assert first.unused == second.unused == ("hash-a",)


async def test_a_segment_of_a_deleted_job_stays_for_those_that_use_it(desk: Desk) -> None:
    """It was a note that points to the audio of the deleted job."""
    await desk.speak("a", "shared")
    lease = await desk.claim("b")
    key = layout.audio_object(NAMESPACE, "b", lease.token, "wav")
    await desk.store.put(key, wav.encode(PCM, RATE), media_type="audio/wav")
    await desk.finish(lease, "shared", key)
    leftovers = await desk.delete("a")
    assert leftovers == Leftovers((), ("shared",))
    await erase_objects(desk.store, NAMESPACE, "a", leftovers)
    assert await desk.store.list(layout.objects_of(NAMESPACE, "a")) == []
    stored = await desk.segments.load("shared")
    assert stored is not None
    assert bytes(stored.pcm) == PCM


async def test_a_segment_that_another_job_synthesizes_now_stays(desk: Desk) -> None:
    await desk.speak("a", "hash", note=False)
    redis = desk.ledger.connection.redis
    await redis.delete(f"speechfleet.1:uses:{NAMESPACE}:hash")
    await desk.begin(await desk.claim("b"), "hash")
    assert (await desk.delete("a")).used == ("hash",)


async def test_a_new_job_of_the_same_id_keeps_its_audio(desk: Desk) -> None:
    await desk.speak("a", "hash-1", note=False)
    await desk.delete("a")
    lease = await desk.claim("a")
    assert not await sweep_deleted(desk.ledger, desk.store, NAMESPACE, "a"), "it runs"
    key = layout.audio_object(NAMESPACE, "a", "boot:other", "wav")
    await desk.store.put(key, wav.encode(PCM, RATE), media_type="audio/wav")
    await desk.finish(lease, "hash-2", key)
    assert await sweep_deleted(desk.ledger, desk.store, NAMESPACE, "a")
    assert await desk.store.list("audio/") == [key]
    record = await desk.ledger.jobs.load(NAMESPACE, "a")
    assert record.reborn


async def test_of_a_bulk_only_the_deleted_job_is_reborn(desk: Desk) -> None:
    await desk.speak("b c", "hash-b", note=False)
    await desk.delete("b c")
    jobs, ids = desk.ledger.jobs, ["a", "b c", "d"]
    await jobs.submit_all(NAMESPACE, [(id, Request("Text.", MODEL)) for id in ids])
    assert [(await jobs.load(NAMESPACE, id)).reborn for id in ids] == [False, True, False]


async def test_a_deletion_is_over_when_no_write_can_come_any_more(desk: Desk) -> None:
    await desk.speak("a", "hash-a", note=False)
    await desk.delete("a")
    (deletion,) = await desk.ledger.deletions.take_due()
    assert (deletion.id, await desk.ledger.deletions.take_due()) == ("a", [])
    await desk.ledger.deletions.swept(deletion, clean=True)
    assert await desk.ledger.connection.redis.zcard("speechfleet.1:deletions") == 1
    late = Deletion(NAMESPACE, "a", SWEPT_FOR_S)
    await desk.ledger.deletions.swept(late, clean=False)
    assert await desk.ledger.connection.redis.zcard("speechfleet.1:deletions") == 1
    await desk.ledger.deletions.swept(late, clean=True)
    left = [key.decode() for key in await desk.ledger.connection.scripts.call("KEYS", "*")]
    assert [key for key in left if "delet" in key or "leftover" in key] == [
        "speechfleet.1:deleted:default:a"
    ]


async def test_a_segment_that_was_stored_and_never_recorded_is_found(desk: Desk) -> None:
    """As of a session, whose segments nobody claims: its worker died between the two."""
    lease = await desk.claim("a")
    await lease.begin("hash-a")
    await desk.store_audio(lease, "hash-a", note=False)
    leftovers = await desk.delete("a")
    assert leftovers.unused == ("hash-a",)
    await erase_objects(desk.store, NAMESPACE, "a", leftovers)
    assert await desk.objects() == []


async def test_nothing_is_begun_after_the_deletion(desk: Desk) -> None:
    lease = await desk.claim("a")
    await desk.delete("a")
    with pytest.raises(LeaseLost):
        await lease.begin("hash-a")
    assert await desk.delete("a") == Leftovers()
