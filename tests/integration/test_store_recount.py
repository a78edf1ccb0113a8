"""Bytes that a namespace has in the store: all kinds of objects, given back when deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechfleet.errors import StoreError
from speechfleet.ledger.ledger import Ledger
from speechfleet.quotas import EVERY_NAMESPACE, NamespaceQuotaExceeded, Quota
from speechfleet.request import Request
from speechfleet.settings import Settings
from speechfleet.store import Store, layout, open_store
from speechfleet_worker.maintenance import store_recount
from speechfleet_worker.maintenance.store_recount import StoreRecount

NAMESPACE = "a tenant"
LIMIT = 1000
KEYS = (
    layout.audio_object(NAMESPACE, "job", "boot:1", "wav"),
    layout.timeline_object(layout.audio_object(NAMESPACE, "job", "boot:1", "wav")),
    layout.segment_object(NAMESPACE, "abcd"),
    layout.words_object(NAMESPACE, "abcd"),
    layout.corpus_object(NAMESPACE, "batch", "x"),
    layout.captions_object(NAMESPACE, "batch", "item", "srt"),
    layout.file_object(NAMESPACE, "file"),
)
OF_ANOTHER = layout.segment_object("a tenant of another", "abcd")


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield ledger
    await ledger.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path.as_uri())
    yield store
    await store.close()


async def counted(ledger: Ledger) -> float:
    status = await ledger.quotas.status(NAMESPACE)
    assert status is not None
    return status.used["store_bytes"]


async def put(store: Store, key: str, size: int) -> None:
    await store.put(key, bytes(size), media_type="audio/x")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([*KEYS, OF_ANOTHER]), st.integers(0, 400)), max_size=12
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_the_measure_is_what_is_there(
    ledger: Ledger, store: Store, steps: list[tuple[str, int]]
) -> None:
    """Any objects are written, replaced and deleted: what is counted is what is left."""
    await ledger.connection.redis.flushall()
    await store.sweep("audio/")
    for kind in ("segments/", "batches/", "files/"):
        await store.sweep(kind)
    await ledger.quotas.set(NAMESPACE, Quota(store_bytes=LIMIT), {"*": 1})
    recount = StoreRecount(ledger.quotas, store, "boot")
    held: dict[str, int] = {}
    for key, size in steps:
        if held.pop(key, None) is None:
            await put(store, key, size)
            held[key] = size
        else:
            await store.delete(key)
        await ledger.connection.redis.delete("speechfleet.1:quota-recount:a%20tenant")
        await recount.look()
        assert await counted(ledger) == sum(s for k, s in held.items() if k != OF_ANOTHER)


async def test_a_full_store_refuses_jobs_until_something_is_deleted(
    ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_recount, "INTERVAL_S", 0.001)
    monkeypatch.setattr(store_recount, "SHARE", 1000.0)
    await ledger.quotas.set(NAMESPACE, Quota(store_bytes=LIMIT), {"*": 1})
    recount = StoreRecount(ledger.quotas, store, "boot")
    segment = layout.segment_object(NAMESPACE, "abcd")
    await put(store, segment, LIMIT)
    await recount.look()
    with pytest.raises(NamespaceQuotaExceeded) as refused:
        await ledger.jobs.submit(NAMESPACE, "job", Request("Hello.", "espeak/espeak-ng"))
    assert refused.value.limit == "store_bytes"
    await store.delete(segment)
    async with asyncio.timeout(60):
        while await counted(ledger):  # its rest of a millisecond is over at some time
            await recount.look()
    await ledger.jobs.submit(NAMESPACE, "job", Request("Hello.", "espeak/espeak-ng"))


async def test_one_worker_measures_and_a_late_one_changes_nothing(
    ledger: Ledger, store: Store
) -> None:
    quotas = ledger.quotas
    await quotas.set(NAMESPACE, Quota(store_bytes=LIMIT), {"*": 1})
    await put(store, KEYS[0], 70)
    assert await quotas.begin_recount(NAMESPACE, "first", 60) == 0
    await StoreRecount(quotas, store, "second").look()
    assert await counted(ledger) == 0
    assert await quotas.end_recount(NAMESPACE, "first", 70, 60)
    assert not await quotas.end_recount(NAMESPACE, "late", 70, 60)
    assert await counted(ledger) == 70


async def test_a_store_that_is_away_is_measured_later(
    ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure(prefix: str) -> int:
        raise StoreError("it is away")

    await ledger.quotas.set(NAMESPACE, Quota(store_bytes=LIMIT), {"*": 1})
    monkeypatch.setattr(store, "measure", measure)
    with pytest.raises(StoreError):
        await StoreRecount(ledger.quotas, store, "boot").measure(NAMESPACE)
    assert await counted(ledger) == 0


async def test_the_default_limits_namespaces_that_have_none_of_their_own(ledger: Ledger) -> None:
    quotas = ledger.quotas
    await quotas.set(EVERY_NAMESPACE, Quota(store_bytes=LIMIT), {"*": 1})
    await quotas.set("open", Quota(queued=1), {"*": 1})
    await quotas.set("own", Quota(store_bytes=1), {"*": 1})
    await ledger.jobs.submit(NAMESPACE, "job", Request("Hello.", "espeak/espeak-ng"))
    await ledger.jobs.submit("open", "job", Request("Hello.", "espeak/espeak-ng"))
    assert await quotas.storing() == [NAMESPACE, "own"]
