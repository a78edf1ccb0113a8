"""Who feeds a batch, and how far: one living worker at a time, whoever died or was fenced off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from speechfleet import keys
from speechfleet.keys import BatchKeys
from speechfleet.ledger import Batches, BatchState, Connection, FeedLost, Feeds
from speechfleet.settings import Settings

NAMESPACE, BATCH = "a tenant", "corpus: 1/2"


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[Connection]:
    connection = Connection(Settings.load(redis_url=redis_url))
    await connection.open()
    for boot in ("first", "second"):
        await connection.scripts.call("HSET", keys.BEATS, boot, 1)
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

    await connection.scripts.call("HDEL", keys.BEATS, "first")
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
