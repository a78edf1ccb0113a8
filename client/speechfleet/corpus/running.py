"""One run of a batch, by whoever feeds it: items go in, and what ends is written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from speechfleet.corpus.delivery import Delivery
from speechfleet.corpus.feeding import Feeder
from speechfleet.corpus.manifest import Entry
from speechfleet.errors import BatchStopped
from speechfleet.ledger import Batches, BatchState, Result
from speechfleet.ledger.batches import batch_stopped

A_LOOK, SHORT_LOOK = 1.0, 0.05
"""Seconds for which a result is waited for; the shorter one while nothing is under way yet."""
ROUND = 0.25
"""Seconds that one round of reading and writing down results takes at least, while they come
fast: it costs much the same for one result as for twenty."""
FEW = 20
"""One in so many of what is under way is few; more than that does not wait for the round's end."""
QUIET = 10
"""Looks without a result, after which it is asked whether any can come."""


class Run:
    """Feeds an open batch and reads back how its items end. Once only."""

    def __init__(
        self,
        batches: Batches,
        namespace: str,
        id: str,
        feeder: Feeder,
        delivery: Delivery,
    ) -> None:
        self._batches = batches
        self._namespace = namespace
        self._id = id
        self._feeder = feeder
        self._delivery = delivery
        self._round = 0.0

    async def results(self, feed: Coroutine[Any, Any, None]) -> AsyncGenerator[list[Entry], None]:
        """What ended, as it ends, each already written down; then the batch is ended.

        ``feed``: the feeder's `feed` or `feed_bulks`, with the items.
        Raises BatchStopped (with the cause) where the batch was stopped or cancelled, and what
        the items themselves raise, after what was under way has ended.
        """
        feeding = asyncio.create_task(feed)
        try:
            async for entries in self._collect(feeding):
                yield entries
            await feeding
            await self._end()
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])

    async def _collect(self, feeding: asyncio.Task[None]) -> AsyncGenerator[list[Entry], None]:
        """What ended, written down and then folded, until nothing more can end."""
        batches, namespace, id, feeder = self._batches, self._namespace, self._id, self._feeder
        quiet = 0
        while True:
            fed = feeding.done() or feeder.idle
            wait = A_LOOK if feeder.under_way else 0.0 if fed else SHORT_LOOK
            if ended := await self._ended(wait):
                quiet = 0
                yield await self._written(ended)
                continue
            if _is_stopped(feeding):
                await batches.withdraw(namespace, id)
            quiet += 1
            if (fed and not feeder.under_way) or quiet >= QUIET:
                quiet = 0
                status = await batches.get(namespace, id)
                if status.outstanding or status.unread:
                    continue
                if not feeder.under_way:
                    if fed:
                        return
                    continue
                if feeding.done():
                    return
                feeder.send_again()  # Deleted by somebody, or lost with Redis' last second.

    async def _ended(self, wait: float) -> list[Result]:
        ended = await self._batches.results(self._namespace, self._id, wait=wait)
        rest = self._round + ROUND - time.monotonic()
        if ended and rest > 0 and len(ended) * FEW < len(self._feeder.under_way):
            await asyncio.sleep(rest)
            ended = await self._batches.results(self._namespace, self._id, wait=0)
        if ended:
            self._round = time.monotonic()
        return ended

    async def _written(self, ended: list[Result]) -> list[Entry]:
        feeder = self._feeder
        entries = await self._delivery.deliver(
            [(each, feeder.order_of(each)) for each in ended], feeder.meet
        )
        await feeder.answered(ended)
        await self._batches.fold(self._namespace, self._id, ended)
        for result in ended:
            feeder.settle(result)
        return entries

    async def _end(self) -> None:
        status = await self._batches.get(self._namespace, self._id)
        if status.state in (BatchState.STOPPED, BatchState.CANCELLED):
            raise batch_stopped(self._id, status.code, status.message)
        if not self._feeder.refused_by_purse:
            await self._batches.end(self._namespace, self._id)


def _is_stopped(feeding: asyncio.Task[None]) -> bool:
    return feeding.done() and isinstance(feeding.exception(), BatchStopped)
