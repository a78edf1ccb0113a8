"""Items into the fleet: lazily, within the batch's window and what may be spent."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

from speechfleet.corpus.item import Item
from speechfleet.corpus.manifest import Entry
from speechfleet.corpus.prices import Purse, Spending
from speechfleet.errors import Conflict
from speechfleet.jobs import Request, State
from speechfleet.ledger import Jobs, Result, WindowFull
from speechfleet.ledger.batches import item_id

BULK = 200
"""Submits under way at once."""
LINGER = 0.02
"""Seconds for which items are gathered before what there is of them is sent."""

Items = Iterable[Item] | AsyncIterable[Item]


@dataclass(frozen=True)
class Order:
    """An item with its request, and the most that it can cost."""

    item: Item
    request: Request
    most: Spending


class Feeder:
    """Feeds one batch. ``under_way``: what the fleet has of it, as far as it came from here.

    ``retries``: what an earlier run had sent, and failed, is spoken again.
    """

    def __init__(
        self,
        jobs: Jobs,
        namespace: str,
        batch: str,
        *,
        request: Callable[[Item], Request],
        done: Callable[[Item, Request], bool],
        purse: Purse,
        retries: bool = True,
    ) -> None:
        self._jobs = jobs
        self._namespace = namespace
        self._batch = batch
        self._request = request
        self._done = done
        self._purse = purse
        self._retries = retries
        self._again: deque[Order] = deque()
        self._stale: set[str] = set()
        self._sending: set[str] = set()
        self._exhausted = False
        self._changes = 0
        self._changed = asyncio.Event()
        self._answer = asyncio.Event()
        self._early: set[str] = set()
        self.under_way: dict[str, Order] = {}
        self.skipped = 0
        self.refused_by_purse = False

    @property
    def idle(self) -> bool:
        """All is fed, and all of it has ended."""
        return self._exhausted and not self.under_way and not self._again

    async def feed(self, items: Items) -> None:
        """Returns when `idle`. Raises BatchStopped, and what the items themselves raise."""
        await self.feed_bulks(_bulks(items))

    async def feed_bulks(self, bulks: AsyncIterable[list[Item]]) -> None:
        """The same; the next bulk is asked for once the fleet has accepted this one."""
        async for bulk in bulks:
            await self._send([order for item in bulk if (order := self._order(item))])
            if self.refused_by_purse:
                break
        self._exhausted = True
        while not self.idle:
            seen = self._changes
            again = [self._again.popleft() for _ in range(min(BULK, len(self._again)))]
            if again:
                await self._send(again)
            else:
                await self._change(seen)

    def order_of(self, result: Result) -> Order | None:
        """The order whose end this is; None where it came from elsewhere."""
        return None if result.item in self._stale else self.under_way.get(result.item)

    async def answered(self, results: Sequence[Result]) -> None:
        """Until no submit of these items is under way: one whose answer was lost is repeated,
        and has to find its job then, or the item is spoken once more.
        """
        for result in results:
            while result.item in self._sending:
                self._answer.clear()
                await self._answer.wait()

    def meet(self, entries: Sequence[Entry]) -> None:
        """What ended now and was sent by an earlier run counts as of this one; before `settle`."""
        for entry in entries:
            if entry["id"] not in self.under_way and entry["state"] == State.SUCCEEDED:
                self._purse.spend(entry)
                self._early.add(entry["id"])

    def settle(self, result: Result) -> None:
        """An item ended, and is folded. What was withdrawn is sent again."""
        order = self.under_way.pop(result.item, None)
        if order is not None:
            usage = result.usage
            self._purse.settle(order.most, usage.get("billed", 0), usage.get("cached", 0))
            if result.item in self._stale or result.withdrawn:
                self._stale.discard(result.item)
                self._again.append(order)
        self._tell()

    def send_again(self) -> None:
        """What is under way is not: the fleet knows of nothing."""
        while self.under_way:
            _, order = self.under_way.popitem()
            self._purse.settle(order.most, 0)
            self._again.append(order)
        self._retries = True  # Nor of a failure that somebody has still to read.
        self._tell()

    def _order(self, item: Item) -> Order | None:
        request = self._request(item)
        if self._done(item, request):
            self.skipped += item.id not in self._early
            self._early.discard(item.id)
            return None
        return Order(item, request, self._purse.price(request))

    async def _send(self, orders: list[Order]) -> None:
        while orders and (allowed := await self._afforded(orders)):
            orders = orders[len(allowed) :]
            while allowed:
                seen = self._changes
                sent = await asyncio.gather(*map(self._submit, allowed), return_exceptions=True)
                for outcome in sent:
                    if isinstance(outcome, BaseException) and not isinstance(outcome, WindowFull):
                        raise outcome
                allowed = [
                    order
                    for order, outcome in zip(allowed, sent, strict=True)
                    if isinstance(outcome, WindowFull)
                ]
                if allowed:
                    await self._change(seen)

    async def _afforded(self, orders: list[Order]) -> list[Order]:
        """As many of the first ones as the purse allows; none, and nothing more is fed."""
        while True:
            seen = self._changes
            allowed = []
            for order in orders:
                if not self._purse.allows(order.most):
                    break
                self._purse.reserved += order.most
                allowed.append(order)
            if allowed or not orders:
                return allowed
            if not self.under_way:
                self.refused_by_purse = True
                self._again.clear()
                return []
            await self._change(seen)  # What is under way may turn out to cost less.

    async def _submit(self, order: Order) -> None:
        if order.item.id in self._early and self._done(order.item, order.request):
            self._drop(order)  # It ended while this waited for the purse: the fleet forgot it.
            return
        id = item_id(self._batch, order.item.id)
        # Noted first: its end may be read before this returns.
        self.under_way[order.item.id] = order
        self._sending.add(order.item.id)
        try:
            held = await self._jobs.submit(self._namespace, id, order.request)
            if held.state is State.FAILED and not held.new:
                await self._failed_before(id, order)
        except Conflict:
            await self._replace(id, order)
        except BaseException:
            self.under_way.pop(order.item.id, None)
            raise
        finally:
            self._sending.discard(order.item.id)
            self._answer.set()

    async def _failed_before(self, id: str, order: Order) -> None:
        if self._retries:
            await self._jobs.retry(self._namespace, id)
        elif self._done(order.item, order.request):  # Else its end is still to be read.
            self._drop(order)

    def _drop(self, order: Order) -> None:
        """There is nothing to wait for: its end was written down."""
        self.under_way.pop(order.item.id, None)
        self._early.discard(order.item.id)
        self._purse.settle(order.most, 0)
        self.skipped += 1
        self._tell()

    async def _replace(self, id: str, order: Order) -> None:
        """The id stands for the text that the item had before: that goes first."""
        record = await self._jobs.find(self._namespace, id)
        if record is not None and record.state is State.FAILED:
            await self._jobs.delete(self._namespace, id)
            await self._submit(order)
            return
        if record is not None:
            await self._jobs.cancel(self._namespace, id, "its text was changed")
        self._stale.add(order.item.id)

    def _tell(self) -> None:
        self._changes += 1
        self._changed.set()

    async def _change(self, seen: int) -> None:
        """Until something has ended since ``seen``."""
        while self._changes == seen:
            self._changed.clear()
            await self._changed.wait()


async def _bulks(items: Items) -> AsyncIterator[list[Item]]:
    """At most `BULK` at a time, and fewer where they come slowly."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield [item]
        return
    iterator = iter(items)

    def take() -> list[Item]:
        until = time.monotonic() + LINGER
        bulk = []
        for item in itertools.islice(iterator, BULK):
            bulk.append(item)
            if time.monotonic() > until:
                break
        return bulk

    # Beside the loop: whatever the items come from may block.
    while bulk := await asyncio.to_thread(take):
        yield bulk
