"""Run a batch, by a client or a worker: items go in, and what ends is written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from speechfleet.batch.feeder import Feeder
from speechfleet.batch.manifest import Entry
from speechfleet.batch.writer import ResultWriter
from speechfleet.errors import BatchStopped
from speechfleet.ledger import Batches, BatchState, Result
from speechfleet.ledger.batches import batch_stopped

WAIT_S, SHORT_WAIT_S = 1.0, 0.05
"""Seconds for which a result is awaited; the shorter wait while nothing is in flight yet."""
ROUND_S = 0.25
"""Seconds between two reads of results while they come fast: a read costs much the same for one
result as for twenty."""
LARGE_SHARE = 1 / 20
"""The share of the items in flight from which results are written before their round is over."""
EMPTY_READS = 10
"""Reads without a result, after which the counts are asked whether any can come."""


class BatchRunner:
    """Feed an open batch and read its results. For one run only."""

    def __init__(
        self,
        batches: Batches,
        namespace: str,
        id: str,
        feeder: Feeder,
        writer: ResultWriter,
    ) -> None:
        self._batches = batches
        self._namespace = namespace
        self._id = id
        self._feeder = feeder
        self._writer = writer
        self._round_began = 0.0

    async def results(self, feed: Coroutine[Any, Any, None]) -> AsyncGenerator[list[Entry], None]:
        """Yield results, each already written down; then end the batch.

        ``feed``: the feeder's `feed` or `feed_groups`, with the items.
        Raises BatchStopped (with the cause) where the batch was stopped or cancelled, and what
        the items themselves raise, after what was in flight has ended.
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
        """Yield results, written down and then acknowledged, until no more can come."""
        batches, namespace, id, feeder = self._batches, self._namespace, self._id, self._feeder
        empty_reads = 0
        while True:
            fed = feeding.done() or feeder.idle
            wait = WAIT_S if feeder.in_flight else 0.0 if fed else SHORT_WAIT_S
            if ended := await self._read(wait):
                empty_reads = 0
                yield await self._write(ended)
                continue
            if _is_stopped(feeding):
                await batches.withdraw(namespace, id)
            empty_reads += 1
            if (fed and not feeder.in_flight) or empty_reads >= EMPTY_READS:
                empty_reads = 0
                status = await batches.get(namespace, id)
                if status.outstanding or status.unread:
                    continue
                if not feeder.in_flight:
                    if fed:
                        return
                    continue
                if feeding.done():
                    return
                feeder.resubmit_all()  # Deleted by somebody, or lost with Redis' last second.

    async def _read(self, wait: float) -> list[Result]:
        ended = await self._batches.results(self._namespace, self._id, wait=wait)
        rest = self._round_began + ROUND_S - time.monotonic()
        if ended and rest > 0 and len(ended) < LARGE_SHARE * len(self._feeder.in_flight):
            await asyncio.sleep(rest)
            ended = await self._batches.results(self._namespace, self._id, wait=0)
        if ended:
            self._round_began = time.monotonic()
        return ended

    async def _write(self, ended: list[Result]) -> list[Entry]:
        feeder = self._feeder
        entries = await self._writer.write(
            [(result, feeder.item_of(result)) for result in ended], feeder.count_early
        )
        await feeder.submits.wait(ended)
        await self._batches.acknowledge(self._namespace, self._id, ended)
        for result in ended:
            feeder.settle(result)
        return entries

    async def _end(self) -> None:
        status = await self._batches.get(self._namespace, self._id)
        if status.state in (BatchState.STOPPED, BatchState.CANCELLED, BatchState.EXPIRED):
            raise batch_stopped(self._id, status.code, status.message)
        if not self._feeder.limit_reached:
            await self._batches.end(self._namespace, self._id)


def _is_stopped(feeding: asyncio.Task[None]) -> bool:
    return feeding.done() and isinstance(feeding.exception(), BatchStopped)
