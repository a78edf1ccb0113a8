"""Batches that the fleet feeds: a worker takes each, and another goes on when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing

from speechfleet.batch.detached import RemoteResultWriter
from speechfleet.batch.feeder import ITEMS_PER_SUBMIT, Feeder
from speechfleet.batch.pricing import PriceList, SpendingLimit, spent_before
from speechfleet.batch.runner import BatchRunner
from speechfleet.batch.spool import read_corpus
from speechfleet.corpus.item import Item
from speechfleet.errors import BatchStopped, SpeechFleetError
from speechfleet.in_thread import in_thread
from speechfleet.ledger import Feeding, FeedLost, keys
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.quotas import NamespaceQuotaExceeded
from speechfleet.request import Lane, Request
from speechfleet.settings import Price
from speechfleet_worker.context import WorkerContext

log = logging.getLogger(__name__)

MAX_FEEDS = 4
"""Batches that one worker process feeds at once."""


class Feeders:
    """The feeds that one worker process holds, if it takes jobs of batches."""

    def __init__(self, context: WorkerContext, queues: Sequence[str]) -> None:
        self._context = context
        self._able = any(keys.lane_of(queue)[0] == Lane.BATCH for queue in queues)
        self._feeds = context.ledger.feeds
        self._batches = context.ledger.batches
        self._numbers = itertools.count(1)
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Take the feeds that no living worker holds."""
        if not self._able or self._context.draining:
            return
        for namespace, id in await self._feeds.unfinished():
            key = namespace, id
            if key in self._running or len(self._running) >= MAX_FEEDS:
                continue
            boot, number = self._context.boot, next(self._numbers)
            feeding = None
            with skip_on_error(f"feed batch {id!r}"):
                feeding = await self._feeds.take(namespace, id, boot, f"{boot}-{number}")
            if feeding is not None:
                self._running[key] = asyncio.create_task(self._feed(feeding))

    async def drain(self) -> None:
        """Hand the feeds over; the jobs that were submitted go on."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _feed(self, feeding: Feeding) -> None:
        try:
            await self._feed_to_its_end(feeding)
        finally:
            del self._running[feeding.feed.namespace, feeding.feed.id]

    async def _feed_to_its_end(self, feeding: Feeding) -> None:
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
            # A quota that begins anew tomorrow is no reason to ask every second.
            if not error.retryable or isinstance(error, NamespaceQuotaExceeded):
                await self._batches.stop(feed.namespace, feed.id, error.code, error.message)
        except asyncio.CancelledError:
            await feeding.leave()
            raise
        except Exception:
            log.exception("feeding batch %s broke", feed.id)
            message = "feeding it broke; the log of the worker that did says where"
            await self._batches.stop(feed.namespace, feed.id, "internal", message)
        await feeding.leave()

    async def _run(self, feeding: Feeding) -> None:
        feed, terms = feeding.feed, feeding.feed.terms
        with closing(
            RemoteResultWriter(self._context.ledger.jobs, self._context.store, feeding)
        ) as writer:
            await writer.load(self._feeds)
            prices = PriceList({n: Price.model_validate(p) for n, p in terms["prices"].items()})
            before = await in_thread(spent_before, prices, writer.manifest.history())
            feeder = Feeder(
                self._context.ledger.jobs, feed.namespace, feed.id,
                request=lambda item: self._request(item, feed.id), is_done=writer.is_done,
                limit=SpendingLimit(prices, terms["max_chars"], terms["max_cost"], before),
                retries=False,
                fence=feeding.token,
            )  # fmt: skip
            run = BatchRunner(self._batches, feed.namespace, feed.id, feeder, writer)
            groups = self._items(feeding)
            async with contextlib.aclosing(run.results(feeder.feed_groups(groups))) as ended:
                async for _ in ended:
                    pass
            await writer.sweep(self._feeds)
            if feeder.limit_reached:
                message = "the next item might pass --max-chars or --max-cost"
                await self._batches.stop(feed.namespace, feed.id, "limit_reached", message)

    async def _items(self, feeding: Feeding) -> AsyncGenerator[list[Item], None]:
        """Yield the items from the feed's offset to the end, then those before it.

        The latter were submitted by an earlier feeder: this makes sure that all of them end. An
        item that is in the manifest, or in the fleet, is not submitted again.
        """
        feed, store, count = feeding.feed, self._context.store, ITEMS_PER_SUBMIT
        async for group, end in read_corpus(store, feed.object, feed.offset, feed.size, count):
            yield group
            await feeding.move(end)
        async for group, _ in read_corpus(store, feed.object, 0, feed.offset, count):
            yield group

    def _request(self, item: Item, batch: str) -> Request:
        return item.request(batch, {}, self._context.settings.max_text)
