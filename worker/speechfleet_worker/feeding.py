"""Batches that the fleet feeds: taken by a worker, gone on with by another when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, Sequence

from speechfleet import keys
from speechfleet.corpus.feeding import BULK, Feeder
from speechfleet.corpus.fleet_fed import RemoteDelivery, read_corpus
from speechfleet.corpus.item import Item
from speechfleet.corpus.prices import Prices, Purse, spent_before
from speechfleet.corpus.running import Run
from speechfleet.errors import BatchStopped, SpeechFleetError
from speechfleet.jobs import Lane, Request
from speechfleet.ledger import Batches, Feeding, FeedLost, Feeds
from speechfleet.settings import Price
from speechfleet_worker.process import Process

log = logging.getLogger(__name__)

MOST = 4
"""Batches that one worker process feeds at once."""


class Feeders:
    """The feeds in the hands of one worker process: of one that takes jobs of batches."""

    def __init__(self, process: Process, queues: Sequence[str]) -> None:
        self._process = process
        self._able = any(keys.lane_of(queue)[0] == Lane.BATCH for queue in queues)
        self._feeds = Feeds(process.connection)
        self._batches = Batches(process.connection)
        self._numbers = itertools.count(1)
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Take what nobody alive feeds."""
        if not self._able or self._process.draining:
            return
        for namespace, id in await self._feeds.unfinished():
            key = namespace, id
            if key in self._running or len(self._running) >= MOST:
                continue
            boot, number = self._process.boot, next(self._numbers)
            feeding = await self._feeds.take(namespace, id, boot, f"{boot}-{number}")
            if feeding is not None:
                self._running[key] = asyncio.create_task(self._feed(feeding))

    async def drain(self) -> None:
        """Hand them over; what they have sent goes on."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _feed(self, feeding: Feeding) -> None:
        try:
            await self._fed(feeding)
        finally:
            del self._running[feeding.feed.namespace, feeding.feed.id]

    async def _fed(self, feeding: Feeding) -> None:
        feed = feeding.feed
        about = {"batch": feed.id}
        try:
            await self._run(feeding)
        except FeedLost as error:
            log.info("%s", error, extra=about)
            return
        except BatchStopped as error:
            log.warning("%s", error, extra=about)
        except SpeechFleetError as error:
            log.warning("feeding batch %s: %s", feed.id, error)
            if not error.retryable:
                await self._batches.stop(feed.namespace, feed.id, error.code, error.message)
        except asyncio.CancelledError:
            await feeding.leave()
            raise
        except Exception:
            log.exception("feeding batch %s broke", feed.id)
            told = "feeding it broke; the log of the worker that did says where"
            await self._batches.stop(feed.namespace, feed.id, "internal", told)
        await feeding.leave()

    async def _run(self, feeding: Feeding) -> None:
        feed, terms = feeding.feed, feeding.feed.terms
        with contextlib.closing(
            RemoteDelivery(self._process.jobs, self._process.store, feeding)
        ) as delivery:
            await delivery.load(self._feeds)
            prices = Prices({n: Price.model_validate(p) for n, p in terms["prices"].items()})
            before = await asyncio.to_thread(spent_before, prices, delivery.manifest.history())
            feeder = Feeder(
                self._process.jobs, feed.namespace, feed.id,
                request=lambda item: self._request(item, feed.id), done=delivery.done,
                purse=Purse(prices, terms["max_chars"], terms["max_cost"], before),
                retries=False,
            )  # fmt: skip
            run = Run(self._batches, feed.namespace, feed.id, feeder, delivery)
            bulks = self._items(feeding)
            async with contextlib.aclosing(run.results(feeder.feed_bulks(bulks))) as ended:
                async for _ in ended:
                    pass
            if feeder.refused_by_purse:
                told = "the next item might pass --max-chars or --max-cost"
                await self._batches.stop(feed.namespace, feed.id, "limit_reached", told)

    async def _items(self, feeding: Feeding) -> AsyncGenerator[list[Item], None]:
        """From where the last one died to the end; then what it had sent, to see that all of it
        ended: an item that is in the manifest, or in the fleet, is not sent again.
        """
        feed, store = feeding.feed, self._process.store
        async for bulk, end in read_corpus(store, feed.object, feed.offset, feed.size, BULK):
            yield bulk
            await feeding.move(end)
        async for bulk, _ in read_corpus(store, feed.object, 0, feed.offset, BULK):
            yield bulk

    def _request(self, item: Item, batch: str) -> Request:
        return item.request(batch, {}, self._process.settings.max_text)
