"""A batch, seen from a client: many texts, spoken once each, and gone on with after any end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from speechfleet.corpus.captions import FORMS, Form
from speechfleet.corpus.delivery import Delivery
from speechfleet.corpus.feeding import Feeder
from speechfleet.corpus.folder import Folder, batch_of
from speechfleet.corpus.item import Item, as_item, derived_id
from speechfleet.corpus.manifest import Entry
from speechfleet.corpus.prices import Prices, Purse, Spending
from speechfleet.corpus.seen import Mark, Seen
from speechfleet.errors import InvalidRequest
from speechfleet.jobs import Request, State, check_id
from speechfleet.ledger import BatchState, BatchStatus
from speechfleet.ledger.batches import batch_stopped

if TYPE_CHECKING:
    from speechfleet.client import AsyncClient

A_LOOK, SHORT_LOOK = 1.0, 0.05
"""Seconds for which a result is waited for; the shorter one while nothing is under way yet."""
QUIET = 10
"""Looks without a result, after which it is asked whether any can come."""

Texts = Iterable[Any] | AsyncIterable[Any]


@dataclass
class Summary:
    """What a run did so far. ``skipped``: done by an earlier run; ``cached``: spoken without a
    provider; ``seconds``: of audio; ``spent``: characters billed, and their estimated price;
    ``cut_short``: the limit of what may be spent was reached.
    """

    id: str
    succeeded: int = 0
    failed: int = 0
    cached: int = 0
    skipped: int = 0
    seconds: float = 0.0
    took: float = 0.0
    spent: Spending = field(default_factory=Spending)
    cut_short: bool = False

    def count(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            good = entry["state"] == State.SUCCEEDED
            self.succeeded += good
            self.failed += not good
            self.cached += good and not entry["billed"]
            self.seconds += entry["duration"]


class AsyncBatch:
    """Made by `AsyncClient.batch`. One run of it at a time.

    `results` feeds the fleet while it is read, lazily and within the window, so that memory
    stays flat however many items there are. Whatever ends a run, the next one with the same
    ``out`` (or id) goes on: what stands in the manifest is not spoken again.
    """

    def __init__(
        self,
        client: AsyncClient,
        items: Texts,
        order: Mapping[str, Any],
        *,
        id: str | None = None,
        out: Path | str | None = None,
        remote: bool = False,
        captions: Form | None = None,
        window: int | None = None,
        max_chars: float | None = None,
        max_cost: float | None = None,
        openai: bool = False,
        about: Mapping[str, str] | None = None,
    ) -> None:
        if captions not in (None, *FORMS):
            raise InvalidRequest(f"captions are {' or '.join(FORMS)}, not {captions!r}")
        if captions is not None and out is None:
            raise InvalidRequest("captions are files: give `out` a folder for them")
        self._client = client
        self._items = items
        self._order = order
        self._id = check_id(id) if id is not None else None
        self._out = Path(out) if out is not None else None
        self._remote = remote
        self._captions: Form | None = captions
        self._window = window or client.settings.batch_window
        self._purse = Purse(Prices(client.settings.prices), max_chars, max_cost)
        self._openai = openai
        self._about = about or {}
        self._feeder: Feeder | None = None
        self._summary = Summary("")

    @property
    def id(self) -> str:
        """Given, or the folder's, or made for this run."""
        if self._id is None:
            known = batch_of(self._out) if self._out is not None else ""
            self._id = known or uuid4().hex[:16]
        return self._id

    @property
    def summary(self) -> Summary:
        """Of this run, so far."""
        if self._feeder is not None:
            self._summary.skipped = self._feeder.skipped
            self._summary.cut_short = self._feeder.refused_by_purse
        self._summary.spent = self._purse.spent
        return self._summary

    async def run(self) -> Summary:
        """All of it; see `results`."""
        async with contextlib.aclosing(self.results()) as entries:
            async for _ in entries:
                pass
        return self.summary

    async def results(self) -> AsyncGenerator[Entry, None]:
        """Feed the items and yield the manifest's entries, in the order in which they end.

        An item that fails has its entry, with ``error``. An entry stands in the manifest before
        it is yielded. Raises BatchStopped (with the cause) where an error of the account, or
        somebody, stopped the batch; InvalidRequest with its place where an item is wrong, after
        what was under way has ended; OSError where the folder cannot be written.
        """
        with self._folder() as folder:
            delivery = Delivery(
                self._client.ledger,
                self._client.namespace,
                self._client.store,
                folder,
                remote=self._remote,
                captions=self._captions,
            )
            began = time.monotonic()
            self._summary = Summary(self.id)
            await self._open()
            self._feeder = feeder = self._make_feeder(delivery)
            feeding = asyncio.create_task(feeder.feed(_once_each(self._items)))
            try:
                async for entries in self._collect(feeder, feeding, delivery):
                    self._summary.count(entries)
                    self._summary.took = time.monotonic() - began
                    for entry in entries:
                        yield entry
                await feeding
                await self._end(feeder)
            finally:
                self._summary.took = time.monotonic() - began
                feeding.cancel()
                await asyncio.wait([feeding])
                if folder is not None:
                    folder.summarize(openai=self._openai)

    async def status(self) -> BatchStatus:
        """As the fleet counts it. Raises BatchNotFound."""
        return await self._client.batches.get(self._client.namespace, self.id)

    async def cancel(self, reason: str = "cancelled by a client") -> int:
        """Stop all of it, what is running too; how many items. Raises BatchNotFound."""
        return await self._client.batches.cancel(self._client.namespace, self.id, reason)

    async def retry_failed(self) -> int:
        """Items that failed are spoken again; how many. The next run writes down how they end."""
        return await self._client.batches.retry_failed(self._client.namespace, self.id)

    # --- one run ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Folder | None]:
        if self._out is None:
            yield None
            return
        folder = Folder(self._out)
        try:
            folder.note({"batch": self.id, **self._about})
            yield folder
        finally:
            folder.close()

    async def _open(self) -> None:
        about = {name: str(self._order.get(name, "")) for name in ("model", "voice")}
        if self._out is not None:
            about["out"] = str(self._out.absolute())
        await self._client.batches.open(
            self._client.namespace, self.id, window=self._window, about={**about, **self._about}
        )

    def _make_feeder(self, delivery: Delivery) -> Feeder:
        return Feeder(
            self._client.ledger,
            self._client.namespace,
            self.id,
            request=self._request,
            done=delivery.done,
            early=delivery.early,
            purse=self._purse,
        )

    async def _collect(
        self, feeder: Feeder, feeding: asyncio.Task[None], delivery: Delivery
    ) -> AsyncGenerator[list[Entry], None]:
        """What ended, written down and then folded, until nothing more can end."""
        batches, namespace = self._client.batches, self._client.namespace
        quiet = 0
        while True:
            fed = feeding.done() or feeder.idle
            wait = A_LOOK if feeder.under_way else 0.0 if fed else SHORT_LOOK
            ended = await batches.results(namespace, self.id, wait=wait)
            if ended:
                quiet = 0
                entries = await delivery.deliver([(each, feeder.order_of(each)) for each in ended])
                await batches.fold(namespace, self.id, ended)
                for result in ended:
                    feeder.settle(result)
                yield entries
                continue
            quiet += 1
            if (fed and not feeder.under_way) or quiet >= QUIET:
                quiet = 0
                status = await self.status()
                if status.outstanding or status.unread:
                    continue
                if not feeder.under_way:
                    if fed:
                        return
                    continue
                if feeding.done():
                    return
                feeder.send_again()  # Deleted by somebody, or lost with Redis' last second.

    async def _end(self, feeder: Feeder) -> None:
        status = await self.status()
        if status.state in (BatchState.STOPPED, BatchState.CANCELLED):
            raise batch_stopped(self.id, status.code, status.message)
        if not feeder.refused_by_purse:
            await self._client.batches.end(self._client.namespace, self.id)

    def _request(self, item: Item) -> Request:
        try:
            return item.request(self.id, self._order, self._client.settings.max_text)
        except InvalidRequest as error:
            raise InvalidRequest(f"{item.place}: {error.message}", code=error.code) from error


def _once_each(items: Texts) -> Iterable[Item] | AsyncIterable[Item]:
    """The items as they come, each id once. Raises InvalidRequest at one that is wrong."""
    return _from_async(items) if isinstance(items, AsyncIterable) else _from_sync(items)


def _from_sync(items: Iterable[Any]) -> Iterator[Item]:
    with contextlib.closing(Seen()) as seen:
        for number, value in enumerate(items, 1):
            item = as_item(value, f"item {number}")
            if _first(item, seen):
                yield item


async def _from_async(items: AsyncIterable[Any]) -> AsyncGenerator[Item, None]:
    number = 0
    with contextlib.closing(Seen()) as seen:
        async for value in items:
            number += 1
            item = as_item(value, f"item {number}")
            if _first(item, seen):
                yield item


def _first(item: Item, seen: Seen) -> bool:
    """Whether its id is new; InvalidRequest where it came with another text."""
    digest = derived_id(item.text, item.fields)
    before = seen.get(item.id)
    if before is None:
        seen.put(item.id, Mark(digest, "", 0))
    elif before.digest != digest:
        raise InvalidRequest(f"{item.place}: the id {item.id!r} came before with another text")
    return before is None
