"""Items into the fleet: lazily, within the batch's window and what may be spent."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from speechfleet.corpus.item import Item
from speechfleet.corpus.manifest import Entry
from speechfleet.corpus.prices import Purse, Spending
from speechfleet.errors import Conflict
from speechfleet.jobs import Request, State
from speechfleet.ledger import Jobs, Result, Submitted, WindowFull
from speechfleet.ledger.batches import item_id

BULK = 200
"""Submits that are sent together."""
AT_ONCE = 2
"""Such bulks under way at once."""
LINGER = 0.02
"""Seconds for which items are gathered before what there is of them is sent."""

Items = Iterable[Item] | AsyncIterable[Item]
Send = Coroutine[Any, Any, None]


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
        self._changes = Changes()
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
        await self.feed_bulks(_bulks(items), AT_ONCE)

    async def feed_bulks(self, bulks: AsyncIterable[list[Item]], at_once: int = 1) -> None:
        """The same; with one ``at_once``, the next is asked for when the fleet has accepted it."""
        async with aclosing(self._sends(bulks)) as sends:
            await _overlapping(sends, at_once)
        self._exhausted = True
        while not self.idle:
            seen = self._changes.count
            again = [self._again.popleft() for _ in range(min(BULK, len(self._again)))]
            if again:
                await self._send(again)
            else:
                await self._changes.after(seen)

    async def _sends(self, bulks: AsyncIterable[list[Item]]) -> AsyncGenerator[Send, None]:
        async for bulk in bulks:
            orders = [order for item in bulk if (order := self._order(item))]
            if self.refused_by_purse:
                return
            yield self._send(orders)

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
        self._changes.tell()

    def send_again(self) -> None:
        """What is under way is not: the fleet knows of nothing."""
        while self.under_way:
            _, order = self.under_way.popitem()
            self._purse.settle(order.most, 0)
            self._again.append(order)
        self._retries = True  # Nor of a failure that somebody has still to read.
        self._changes.tell()

    def _order(self, item: Item) -> Order | None:
        request = self._request(item)
        if self._done(item, request):
            self._skip(item)
            return None
        return Order(item, request, self._purse.price(request))

    def _skip(self, item: Item) -> None:
        """It is done; what ended in this run was told of as such."""
        self.skipped += item.id not in self._early
        self._early.discard(item.id)

    async def _send(self, orders: list[Order]) -> None:
        while orders and (allowed := await self._afforded(orders)):
            orders = orders[len(allowed) :]
            while allowed:
                seen = self._changes.count
                if allowed := await self._submit(allowed):
                    await self._changes.after(seen)

    async def _afforded(self, orders: list[Order]) -> list[Order]:
        """As many of the first ones as the purse allows; none, and nothing more is fed."""
        while not self.refused_by_purse:
            seen = self._changes.count
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
                break
            await self._changes.after(seen)  # What is under way may turn out to cost less.
        return []

    async def _submit(self, orders: Sequence[Order]) -> list[Order]:
        """All together; those that found the window full. All are told of before this raises."""
        full: list[Order] = []
        failed: Exception | None = None
        # Noted first: their ends may be read before this returns.
        sending = {order.item.id: order for order in orders if not self._has_ended(order)}
        self.under_way |= sending
        self._sending |= sending.keys()
        try:
            outcomes = await self._jobs.submit_each(
                self._namespace,
                [(item_id(self._batch, id), order.request) for id, order in sending.items()],
            )
            for order, outcome in zip(list(sending.values()), outcomes, strict=True):
                try:
                    await self._accept(order, outcome)
                except WindowFull:
                    full.append(order)
                except Exception as error:  # noqa: BLE001 # raised below
                    failed = failed or error
                else:
                    del sending[order.item.id]
        finally:
            for id in sending:
                self.under_way.pop(id, None)
            self._sending.difference_update(order.item.id for order in orders)
            self._answer.set()
        if failed is not None:
            raise failed
        return full

    async def _accept(self, order: Order, outcome: Submitted | Exception) -> None:
        id = item_id(self._batch, order.item.id)
        if isinstance(outcome, Conflict):
            if not await _replaced(self._jobs, self._namespace, id, order.request):
                self._stale.add(order.item.id)
        elif isinstance(outcome, Exception):
            raise outcome
        elif outcome.new or outcome.state is not State.FAILED:
            return
        elif self._retries:
            await self._jobs.retry(self._namespace, id)
        elif self._done(order.item, order.request):  # Else its end is still to be read.
            self._drop(order)

    def _has_ended(self, order: Order) -> bool:
        """While it waited for the purse: the fleet has forgotten it."""
        if ended := order.item.id in self._early and self._done(order.item, order.request):
            self._drop(order)
        return ended

    def _drop(self, order: Order) -> None:
        self.under_way.pop(order.item.id, None)  # its end was written down
        self._purse.settle(order.most, 0)
        self._skip(order.item)
        self._changes.tell()


class Changes:
    """Something of what is under way has ended: whoever waits for that looks again."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def tell(self) -> None:
        self.count += 1
        self._changed.set()

    async def after(self, seen: int) -> None:
        """Until there are more than ``seen``."""
        while self.count == seen:
            self._changed.clear()
            await self._changed.wait()


async def _replaced(jobs: Jobs, namespace: str, id: str, request: Request) -> bool:
    """The id stands for the text that the item had before: that goes first. False where it is
    being spoken, and is now cancelled: its end is to come.
    """
    record = await jobs.find(namespace, id)
    if record is not None and record.state is State.FAILED:
        await jobs.delete(namespace, id)
        await jobs.submit(namespace, id, request)
        return True
    if record is not None:
        await jobs.cancel(namespace, id, "its text was changed")
    return False


async def _overlapping(sends: AsyncIterable[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Each begun in turn, so many of them under way: while the server writes some, the next
    are made ready. Those that were begun end before an error is raised.
    """
    under_way: deque[asyncio.Task[None]] = deque()
    try:
        async for send in sends:
            under_way.append(asyncio.create_task(send))
            if len(under_way) == at_once:
                await under_way.popleft()
    except asyncio.CancelledError:
        for task in under_way:
            task.cancel()
        raise
    finally:
        await asyncio.gather(*under_way)


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
