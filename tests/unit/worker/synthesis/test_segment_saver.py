"""`SegmentSaver`: what no record names is deleted, also where its put comes late."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from speechfleet.segment_store import SegmentStore
from speechfleet.store import Store
from speechfleet_worker.output.audio_object import StoreRetry
from speechfleet_worker.synthesis.segment_saver import SegmentSaver
from tests.support.stub_ledger import RATE, StubLease, make_store

PCM = bytes(960)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store")


def make(store: Store, lease: StubLease) -> SegmentSaver:
    return SegmentSaver(SegmentStore(store, "default"), StoreRetry(0), lease)


async def test_named_segments_stay(store: Store) -> None:
    saver = make(store, lease := StubLease())
    await saver.save("a", PCM, RATE)
    await saver.save("b", PCM, RATE)
    assert lease.begun == ["a", "b"]
    saver.named("a")
    await saver.delete_unnamed()
    assert [key.rpartition("/")[2] for key in await store.list()] == ["a"]
    await saver.delete_unnamed()


async def test_segments_of_other_jobs_stay(store: Store) -> None:
    lease = StubLease()
    lease.used_by_others = {"a"}
    saver = make(store, lease)
    await saver.save("a", PCM, RATE)
    await saver.delete_unnamed()
    assert len(await store.list()) == 1


async def test_notes_are_deleted_too(store: Store) -> None:
    saver = make(store, StubLease())
    note = saver.note("a", "audio/job", RATE)
    await store.put_all([note])
    await saver.delete_unnamed()
    assert await store.list() == []


async def test_a_put_that_outlives_its_job_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    put = store._put_each

    def slow(*arguments: Any) -> list[bool]:
        begun.set()
        go_on.wait()
        return put(*arguments)

    monkeypatch.setattr(store, "_put_each", slow)
    saver = make(store, StubLease())
    saving = asyncio.ensure_future(saver.save("a", PCM, RATE))
    await asyncio.to_thread(begun.wait)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    deleting = asyncio.ensure_future(saver.delete_unnamed())
    await asyncio.sleep(0)
    go_on.set()
    await deleting
    assert await store.list() == []
