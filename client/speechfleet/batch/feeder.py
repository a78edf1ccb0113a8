"""Sends items into the fleet: lazily, within the batch's window and its spending limit."""

from __future__ import annotations

import asyncio
import contextlib
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

from speechfleet.batch.manifest import Entry
from speechfleet.batch.pricing import Reservation, SpendingLimit
from speechfleet.corpus.item import Item
from speechfleet.errors import Conflict
from speechfleet.ledger import Jobs, Result, Submitted, WindowFull
from speechfleet.ledger.batches import item_id
from speechfleet.lifecycle import State
from speechfleet.request import Request

ITEMS_PER_SUBMIT = 200
"""Submits that are sent together, as one group."""
MAX_CONCURRENT_SUBMITS = 2
FULL_S = 5.0
"""Seconds after which a full window is tried again: jobs beside the batch may fill the queue up to
its quota, and their ends are not told here."""
LINGER_S = 0.02
"""Seconds for which items are gathered before they are sent."""

Items = Iterable[Item] | AsyncIterable[Item]
Send = Coroutine[Any, Any, None]


@dataclass(frozen=True)
class PricedItem:
    """An item with its request. ``ceiling``: the most that it can cost."""

    item: Item
    request: Request
    ceiling: Reservation


class Feeder:
    """Feed one batch.

    ``in_flight``: items that it has sent and that have not ended. ``submits``: those under way.
    ``skipped``: items that were done before. ``limit_reached``: the spending limit allows no
    further item. ``retries``: an item that failed in an earlier run is spoken again. ``fence``:
    the token by which a worker feeds the batch; nothing is accepted once another one does.
    """

    def __init__(
        self,
        jobs: Jobs,
        namespace: str,
        batch: str,
        *,
        request: Callable[[Item], Request],
        is_done: Callable[[Item, Request], bool],
        limit: SpendingLimit,
        retries: bool = True,
        fence: str = "",
    ) -> None:
        self._jobs = jobs
        self._namespace = namespace
        self._batch = batch
        self._request = request
        self._is_done = is_done
        self._limit = limit
        self._retries, self._fence = retries, fence
        self._again: deque[PricedItem] = deque()
        self._stale: set[str] = set()
        self._exhausted = False
        self._changes = Changes()
        self._early: set[str] = set()
        self.submits = PendingSubmits()
        self.in_flight: dict[str, PricedItem] = {}
        self.skipped = 0
        self.limit_reached = False

    @property
    def idle(self) -> bool:
        """Return True if all items were sent and have ended."""
        return self._exhausted and not self.in_flight and not self._again

    async def feed(self, items: Items) -> None:
        """Send all items; return when `idle`. Raises BatchStopped, and what the items raise."""
        await self.feed_groups(_groups(items), MAX_CONCURRENT_SUBMITS)

    async def feed_groups(self, groups: AsyncIterable[list[Item]], concurrent: int = 1) -> None:
        """Send groups of items, so many at once; return when `idle`.

        One at a time, the next is asked for when the fleet has accepted the last.
        """
        async with aclosing(self._sends(groups)) as sends:
            await _overlap(sends, concurrent)
        self._exhausted = True
        while not self.idle:
            seen = self._changes.count
            count = min(ITEMS_PER_SUBMIT, len(self._again))
            if again := [self._again.popleft() for _ in range(count)]:
                await self._send(again)
            else:
                await self._changes.after(seen)

    async def _sends(self, groups: AsyncIterable[list[Item]]) -> AsyncGenerator[Send, None]:
        async for group in groups:
            items = [priced for item in group if (priced := self._priced(item))]
            if self.limit_reached:
                return
            yield self._send(items)

    def item_of(self, result: Result) -> PricedItem | None:
        """Return the item whose end this is; None where another run sent it."""
        return None if result.item in self._stale else self.in_flight.get(result.item)

    def count_early(self, entries: Sequence[Entry]) -> None:
        """Count items that an earlier run sent and that ended now; call it before `settle`."""
        for entry in entries:
            if entry["id"] not in self.in_flight and entry["state"] == State.SUCCEEDED:
                self._limit.spend(entry)
                self._early.add(entry["id"])

    def settle(self, result: Result) -> None:
        """Settle the bill of an item that ended; one that was withdrawn is sent again."""
        priced = self.in_flight.pop(result.item, None)
        if priced is not None:
            billed, cached = result.usage.get("billed", 0), result.usage.get("cached", 0)
            self._limit.settle(priced.ceiling, billed, cached, _spoken(priced.request, result))
            if result.item in self._stale or result.withdrawn:
                self._stale.discard(result.item)
                self._again.append(priced)
        self._changes.announce()

    def resubmit_all(self) -> None:
        """Send everything in flight again, since the fleet knows nothing of it any more."""
        while self.in_flight:
            _, priced = self.in_flight.popitem()
            self._limit.settle(priced.ceiling, 0)
            self._again.append(priced)
        self._retries = True  # It has forgotten failures that were still to be read, too.
        self._changes.announce()

    def _priced(self, item: Item) -> PricedItem | None:
        request = self._request(item)
        if self._is_done(item, request):
            self._skip(item)
            return None
        return PricedItem(item, request, self._limit.price(request))

    def _skip(self, item: Item) -> None:
        """Count an item as done before, unless it ended in this run and was counted then."""
        self.skipped += item.id not in self._early
        self._early.discard(item.id)

    async def _send(self, items: list[PricedItem]) -> None:
        while items and (allowed := await self._affordable(items)):
            items = items[len(allowed) :]
            while allowed:
                seen = self._changes.count
                if allowed := await self._submit(allowed):
                    await self._changes.after(seen, within_s=FULL_S)

    async def _affordable(self, items: list[PricedItem]) -> list[PricedItem]:
        """Reserve the first items that the limit allows, and return them; [] if it never will."""
        while not self.limit_reached:
            seen = self._changes.count
            allowed = []
            for item in items:
                if not self._limit.allows(item.ceiling):
                    break
                self._limit.reserved += item.ceiling
                allowed.append(item)
            if allowed or not items:
                return allowed
            if not self.in_flight:
                self.limit_reached = True
                self._again.clear()
                break
            await self._changes.after(seen)  # What is in flight may turn out to cost less.
        return []

    async def _submit(self, items: Sequence[PricedItem]) -> list[PricedItem]:
        """Submit all together; return those that found the window full.

        An error is raised after every answer was taken in.
        """
        full: list[PricedItem] = []
        failed: Exception | None = None
        # Noted first: their ends may be read before this returns.
        sending = {item.item.id: item for item in items if not self._has_ended(item)}
        self.in_flight |= sending
        self.submits.begin(sending)
        try:
            requests = [(item_id(self._batch, id), item.request) for id, item in sending.items()]
            outcomes = await self._jobs.submit_each(self._namespace, requests, fence=self._fence)
            for item, outcome in zip(list(sending.values()), outcomes, strict=True):
                try:
                    await self._accept(item, outcome)
                except WindowFull:
                    full.append(item)
                except Exception as error:  # noqa: BLE001 # raised below
                    failed = failed or error
                else:
                    del sending[item.item.id]
        finally:
            for id in sending:
                self.in_flight.pop(id, None)
            self.submits.end(item.item.id for item in items)
        if failed is not None:
            raise failed
        return full

    async def _accept(self, priced: PricedItem, outcome: Submitted | Exception) -> None:
        id = item_id(self._batch, priced.item.id)
        if isinstance(outcome, Conflict):
            if not await _replace(self._jobs, self._namespace, id, priced.request):
                self._stale.add(priced.item.id)
        elif isinstance(outcome, Exception):
            raise outcome
        elif outcome.new or outcome.state is not State.FAILED:
            return
        elif self._retries:
            await self._jobs.retry(self._namespace, id)
        elif self._is_done(priced.item, priced.request):  # Else its end is still to be read.
            self._drop(priced)

    def _has_ended(self, priced: PricedItem) -> bool:
        """Return True if the item ended while it waited for the limit; drop it then."""
        has_ended = priced.item.id in self._early and self._is_done(priced.item, priced.request)
        if has_ended:
            self._drop(priced)
        return has_ended

    def _drop(self, priced: PricedItem) -> None:
        self.in_flight.pop(priced.item.id, None)  # its end was written down
        self._limit.settle(priced.ceiling, 0)
        self._skip(priced.item)
        self._changes.announce()


class PendingSubmits:
    """Know the items whose submit is under way."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._answered = asyncio.Event()

    def begin(self, ids: Iterable[str]) -> None:
        """Note that items are being sent."""
        self._ids.update(ids)

    def end(self, ids: Iterable[str]) -> None:
        """Note that their answers are here, or will never be."""
        self._ids.difference_update(ids)
        self._answered.set()

    async def wait(self, results: Sequence[Result]) -> None:
        """Wait until no submit of these items is under way.

        A submit whose answer was lost is repeated and must still find its job then, or the item
        is spoken once more.
        """
        for result in results:
            while result.item in self._ids:
                self._answered.clear()
                await self._answered.wait()


class Changes:
    """Wake the tasks that wait for an item in flight to end."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def announce(self) -> None:
        """Count one more change."""
        self.count += 1
        self._changed.set()

    async def after(self, seen: int, *, within_s: float | None = None) -> None:
        """Wait until there are more changes than ``seen``, or the seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.count == seen:
                    self._changed.clear()
                    await self._changed.wait()


def _spoken(request: Request, result: Result) -> tuple[Sequence[str], str] | None:
    """Return who spoke an item, and its text; None where no fallback voice could."""
    if result.turns and result.spoken_by:
        return result.spoken_by, request.text
    return ([request.model], request.text) if request.form.fallback else None


async def _replace(jobs: Jobs, namespace: str, id: str, request: Request) -> bool:
    """Put a request in place of the one that the id had before.

    Return False if that request is running: it is cancelled, and its result is still to come.
    """
    record = await jobs.find(namespace, id)
    if record is not None and record.state is State.FAILED:
        await jobs.delete(namespace, id)
        await jobs.submit(namespace, id, request)
        return True
    if record is not None:
        await jobs.cancel(namespace, id, "its text was changed")
    return False


async def _overlap(sends: AsyncIterable[Send], concurrent: int) -> None:
    """Begin each send in turn, so many under way at once.

    While the server writes some, the next are made ready. Those that were begun end before an
    error is raised.
    """
    tasks: deque[asyncio.Task[None]] = deque()
    try:
        async for send in sends:
            tasks.append(asyncio.create_task(send))
            if len(tasks) == concurrent:
                await tasks.popleft()
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    finally:
        await asyncio.gather(*tasks)


async def _groups(items: Items) -> AsyncIterator[list[Item]]:
    """Group items, at most `ITEMS_PER_SUBMIT` at a time and fewer where they come slowly."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield [item]
        return
    iterator = iter(items)

    def take() -> list[Item]:
        until = time.monotonic() + LINGER_S
        group = []
        for item in itertools.islice(iterator, ITEMS_PER_SUBMIT):
            group.append(item)
            if time.monotonic() > until:
                break
        return group

    # In a thread: reading the items may block.
    while group := await asyncio.to_thread(take):
        yield group
