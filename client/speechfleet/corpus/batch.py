"""A batch, seen from a client: many texts, spoken once each, and gone on with after any end."""

from __future__ import annotations

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
from speechfleet.corpus.fleet_fed import Spool, detach
from speechfleet.corpus.folder import Folder, batch_of
from speechfleet.corpus.item import Item, as_item, derived_id
from speechfleet.corpus.manifest import Entry
from speechfleet.corpus.prices import Prices, Purse, Spending, spent_before
from speechfleet.corpus.running import Run
from speechfleet.corpus.seen import Mark, Names, Seen
from speechfleet.errors import InvalidRequest
from speechfleet.jobs import Request, State, check_id
from speechfleet.ledger import BatchStatus

if TYPE_CHECKING:
    from speechfleet.client import AsyncClient

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
        self._files = out is not None and not (remote and captions is None)
        self._captions: Form | None = captions
        self._window = window or client.settings.batch_window
        self._prices = Prices(client.settings.prices)
        self._limits = (max_chars, max_cost)
        self._purse = Purse(self._prices)
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
            if await self._client.feeds.find(self._client.namespace, self.id) is not None:
                raise InvalidRequest(
                    f"the fleet itself feeds batch {self.id!r}: `speechfleet batch results "
                    f"{self.id} --out DIR` fetches what is spoken; or give another id"
                )
            self._summary = Summary(self.id)
            await self._open()
            before = spent_before(self._prices, delivery.manifest.history())
            self._purse = Purse(self._prices, *self._limits, before)
            self._feeder = feeder = Feeder(
                self._client.ledger, self._client.namespace, self.id,
                request=self._request, done=delivery.done, purse=self._purse,
            )  # fmt: skip
            run = Run(self._client.batches, self._client.namespace, self.id, feeder, delivery)
            try:
                async with contextlib.aclosing(
                    run.results(feeder.feed(_once_each(self._items, files=self._files)))
                ) as ended:
                    async for entries in ended:
                        self._summary.count(entries)
                        self._summary.took = time.monotonic() - began
                        for entry in entries:
                            yield entry
            finally:
                self._summary.took = time.monotonic() - began
                if folder is not None:
                    folder.summarize(openai=self._openai)

    async def detach(self) -> str:
        """Leave the rest to the fleet: the items go to the store, and a worker feeds them; the id.

        Idempotent: the same items under the same id go on, whatever ended them, and those that
        failed are tried again. Without id and ``out`` the id is made of the items. Raises as
        `results` does before anything is spoken, and InvalidRequest where a client feeds it.
        """
        with contextlib.closing(Spool(self._order, self._check)) as spool:
            await spool.take(_once_each(self._items, files=not self._remote))
            if self._id is None and not (self._out and batch_of(self._out)):
                self._id = spool.digest[:16]
            await detach(self._client, self.id, spool, open=self._open, terms=self._terms())
        if self._out is not None:
            with self._folder():
                pass
        return self.id

    def _terms(self) -> dict[str, Any]:
        prices = {
            name: price.model_dump(mode="json")
            for name, price in self._client.settings.prices.items()
        }
        return {"max_chars": self._limits[0], "max_cost": self._limits[1], "prices": prices}

    def _check(self, item: Item) -> None:
        request = self._request(item, "")
        Purse(self._prices, *self._limits).price(request)

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

    def _request(self, item: Item, batch: str | None = None) -> Request:
        try:
            return item.request(
                self.id if batch is None else batch, self._order, self._client.settings.max_text
            )
        except InvalidRequest as error:
            raise InvalidRequest(f"{item.place}: {error.message}", code=error.code) from error


def _once_each(items: Texts, *, files: bool) -> Iterable[Item] | AsyncIterable[Item]:
    """The items as they come, each id once. Raises InvalidRequest at one that is wrong."""
    if isinstance(items, AsyncIterable):
        return _from_async(items, files=files)
    return _from_sync(items, files=files)


def _from_sync(items: Iterable[Any], *, files: bool) -> Iterator[Item]:
    with contextlib.closing(Seen()) as seen, contextlib.closing(Names(wanted=files)) as names:
        for number, value in enumerate(items, 1):
            item = as_item(value, f"item {number}")
            if _first(item, seen, names):
                yield item


async def _from_async(items: AsyncIterable[Any], *, files: bool) -> AsyncGenerator[Item, None]:
    number = 0
    with contextlib.closing(Seen()) as seen, contextlib.closing(Names(wanted=files)) as names:
        async for value in items:
            number += 1
            item = as_item(value, f"item {number}")
            if _first(item, seen, names):
                yield item


def _first(item: Item, seen: Seen, names: Names) -> bool:
    """Whether its id is new; InvalidRequest where it came with another text."""
    digest = derived_id(item.text, item.fields)
    before = seen.get(item.id)
    if before is None:
        seen.put(item.id, Mark(digest, "", 0))
    elif before.digest != digest:
        raise InvalidRequest(f"{item.place}: the id {item.id!r} came before with another text")
    if before is None and (other := names.take(item)):
        raise InvalidRequest(
            f"{item.place}: the ids {other!r} and {item.id!r} are one file name on some disks"
        )
    return before is None
