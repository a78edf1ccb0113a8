"""Who feeds a batch, and how far: one living worker at a time, whoever died or was fenced off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from speechfleet.batch.detached import RemoteResultWriter
from speechfleet.ledger import (
    Batches,
    BatchState,
    Connection,
    FeedLost,
    Feeds,
    Jobs,
    Submitted,
    keys,
)
from speechfleet.ledger.batch_keys import BatchKeys
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings
from speechfleet.store import layout, open_store

NAMESPACE, BATCH = "a tenant", "corpus: 1/2"


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[Connection]:
    connection = Connection(Settings.load(redis_url=redis_url))
    await connection.open()
    for boot in ("first", "second"):
        await connection.scripts.call("HSET", keys.HEARTBEATS, boot, 1)
    await Batches(connection).open(NAMESPACE, BATCH, window=10)
    yield connection
    await connection.close()


async def _open(feeds: Feeds, object: str = "corpus-1") -> bool:
    return await feeds.open(NAMESPACE, BATCH, object=object, size=100, terms={"window": 1})


async def test_one_living_worker_feeds(connection: Connection) -> None:
    feeds = Feeds(connection)
    assert await feeds.find(NAMESPACE, BATCH) is None
    assert await _open(feeds)
    assert not await _open(feeds)
    assert await feeds.unfinished() == [(NAMESPACE, BATCH)]
    first = await feeds.take(NAMESPACE, BATCH, "first", "first:1")
    assert first is not None
    assert (first.feed.object, first.feed.offset, first.feed.boot) == ("corpus-1", 0, "first")
    assert await feeds.take(NAMESPACE, BATCH, "second", "second:1") is None
    await first.move(40)
    await first.add_part("part-1")
    await first.add_part("part-1")  # an answer was lost: the same again

    await connection.scripts.call("HDEL", keys.HEARTBEATS, "first")
    second = await feeds.take(NAMESPACE, BATCH, "second", "second:1")
    assert second is not None
    assert second.feed.offset == 40
    with pytest.raises(FeedLost):
        await first.move(60)
    with pytest.raises(FeedLost):
        await first.add_part("part-2")
    assert not await first.leave()
    await second.add_part("part-3")
    assert await feeds.parts(NAMESPACE, BATCH) == ["part-1", "part-3"]
    assert (await feeds.find(NAMESPACE, BATCH) or first.feed).offset == 40


async def test_a_submit_of_an_earlier_feeder_comes_too_late(connection: Connection) -> None:
    """However long its packets were on their way: the item may have ended and be forgotten."""
    feeds, jobs = Feeds(connection), Jobs(connection)
    await _open(feeds)
    item = Request("One.", "espeak/espeak-ng", lane=Lane.BATCH, batch=BATCH)
    first = await feeds.take(NAMESPACE, BATCH, "first", "first:1")
    assert first is not None
    (sent,) = await jobs.submit_each(NAMESPACE, [("a", item)], fence=first.token)
    assert isinstance(sent, Submitted)
    await connection.scripts.call("HDEL", keys.HEARTBEATS, "first")
    second = await feeds.take(NAMESPACE, BATCH, "second", "second:1")
    assert second is not None
    (late,) = await jobs.submit_each(NAMESPACE, [("b", item)], fence=first.token)
    assert isinstance(late, FeedLost)
    assert await jobs.find(NAMESPACE, "b") is None
    (sent,) = await jobs.submit_each(NAMESPACE, [("b", item)], fence=second.token)
    assert isinstance(sent, Submitted)


async def test_another_corpus_fences_its_feeder_off(connection: Connection) -> None:
    feeds = Feeds(connection)
    await _open(feeds)
    first = await feeds.take(NAMESPACE, BATCH, "first", "first:1")
    assert first is not None
    await first.move(40)
    assert await _open(feeds, "corpus-2")
    with pytest.raises(FeedLost):
        await first.move(60)
    second = await feeds.take(NAMESPACE, BATCH, "second", "second:1")
    assert second is not None
    assert (second.feed.object, second.feed.offset) == ("corpus-2", 0)


async def test_it_is_left_for_good_once_the_batch_is_not_open(connection: Connection) -> None:
    feeds, batches = Feeds(connection), Batches(connection)
    await _open(feeds)
    first = await feeds.take(NAMESPACE, BATCH, "first", "first:1")
    assert first is not None
    assert await first.leave()
    assert await feeds.unfinished() == [(NAMESPACE, BATCH)]  # handed over
    second = await feeds.take(NAMESPACE, BATCH, "second", "second:1")
    assert second is not None
    await batches.end(NAMESPACE, BATCH)
    assert await second.leave()
    assert await feeds.unfinished() == []
    assert await connection.scripts.call("PTTL", BatchKeys(NAMESPACE, BATCH).feed) > 0

    await batches.retry_failed(NAMESPACE, BATCH)
    assert await feeds.unfinished() == [(NAMESPACE, BATCH)]
    assert await connection.scripts.call("PTTL", BatchKeys(NAMESPACE, BATCH).feed) == -1
    assert (await batches.get(NAMESPACE, BATCH)).state is BatchState.OPEN
    await batches.delete(NAMESPACE, BATCH)
    assert await feeds.find(NAMESPACE, BATCH) is None
    assert await feeds.unfinished() == []


async def test_the_store_keeps_no_part_that_the_manifest_lacks(
    connection: Connection, tmp_path: Path
) -> None:
    """Neither one whose feeder died before it was added, nor one that came too late."""
    feeds, jobs, store = Feeds(connection), Jobs(connection), open_store(tmp_path.as_uri())
    prefix = layout.manifest_parts(NAMESPACE, BATCH)
    entry = {"id": "1", "text": "One.", "state": "FAILED", "digest": "d"}
    await _open(feeds)
    first = await feeds.take(NAMESPACE, BATCH, "first", "first-1")
    assert first is not None
    with closing(RemoteResultWriter(jobs, store, first)) as earlier:
        await earlier._append([entry])
        known = await feeds.parts(NAMESPACE, BATCH)
        assert await store.list(prefix) == known
        unknown = layout.manifest_object(NAMESPACE, BATCH, "first-2")
        await store.put(unknown, b"", media_type="application/jsonl")

        await connection.scripts.call("HDEL", keys.HEARTBEATS, "first")
        second = await feeds.take(NAMESPACE, BATCH, "second", "second-1")
        assert second is not None
        with closing(RemoteResultWriter(jobs, store, second)) as later:
            await later.load(feeds)
            assert later.manifest.get("1") is not None
            assert await store.list(prefix) == known
            with pytest.raises(FeedLost):
                await earlier._append([entry])
            assert await store.list(prefix) == known
    await store.close()
