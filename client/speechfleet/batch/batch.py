"""The handle of a batch: many texts, each spoken once, resumed after any end."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from speechfleet.batch.detached import detach, require_attached
from speechfleet.batch.distinct_items import BatchItems, TextItem, Texts, open_items
from speechfleet.batch.ended_items import ended_items, feeder_of
from speechfleet.batch.feeder import Feeder
from speechfleet.batch.item_captions import CaptionStyle
from speechfleet.batch.manifest import Entry
from speechfleet.batch.offer import FleetOffer
from speechfleet.batch.output_folder import OutputFolder, batch_of
from speechfleet.batch.pricing import PriceList, SpendingLimit, spent_before
from speechfleet.batch.runner import BatchRunner
from speechfleet.batch.spool import Spool
from speechfleet.batch.summary import Summary
from speechfleet.batch.writer import ResultWriter
from speechfleet.captions import FORMS, CaptionForm, check_captions
from speechfleet.context import Context
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest
from speechfleet.ledger import BatchStatus
from speechfleet.request import Request, check_id
from speechfleet.settings import Settings
from speechfleet.spoken_form import with_usual_form

__all__ = ["AsyncBatch", "Summary", "TextItem", "Texts"]


class AsyncBatch:
    """Speak many texts, each once; `AsyncClient.batch` makes it. Run it once at a time.

    `results` feeds the fleet while it is read, lazily and within the window, so that memory
    stays flat however many items there are. Whatever ends a run, the next one with the same
    ``out`` (or id) resumes: what the manifest has is not spoken again.
    """

    def __init__(
        self,
        context: Context,
        items: Texts,
        order: Mapping[str, Any],
        *,
        id: str | None = None,
        out: Path | str | None = None,
        remote: bool = False,
        captions: CaptionForm | None = None,
        words: bool = False,
        window: int | None = None,
        max_chars: float | None = None,
        max_cost: float | None = None,
        openai: bool = False,
        about: Mapping[str, str] | None = None,
        is_announced: bool = False,
    ) -> None:
        _check_captions(captions, words=words)
        self._context = context
        self._items = BatchItems(items)
        self._order = _complete(order, context.settings)
        self._id = check_id(id) if id is not None else None
        self._out = Path(out) if out is not None else None
        self._remote = remote
        self._files = out is not None and not (remote and captions is None)
        self._captions = CaptionStyle(captions, words) if captions is not None else None
        self._window = window or context.settings.batch_window
        self._prices = PriceList(context.settings.prices)
        self._maxima = (max_chars, max_cost)
        self._limit = SpendingLimit(self._prices)
        self._terms = _terms(context.settings, max_chars, max_cost, self._captions)
        self._openai = openai
        self._about = about or {}
        self._is_announced = is_announced
        self._feeder: Feeder | None = None
        self._offer = FleetOffer(context.settings)
        self._summary = Summary("")

    @property
    def id(self) -> str:
        """Return the id that was given, or the folder's, or a new one."""
        if self._id is None:
            known = batch_of(self._out) if self._out is not None else ""
            self._id = known or uuid4().hex[:16]
        return self._id

    @property
    def summary(self) -> Summary:
        """Return the counts of this run so far."""
        if self._feeder is not None:
            self._summary.skipped = self._feeder.skipped
            self._summary.cut_short = self._feeder.limit_reached
        self._summary.spent = self._limit.spent
        return self._summary

    async def run(self) -> Summary:
        """Speak all items; see `results`."""
        async with aclosing(self.results()) as entries:
            async for _ in entries:
                pass
        return self.summary

    async def results(self) -> AsyncGenerator[Entry, None]:
        """Feed the items and yield the manifest's entries, in the order in which they end.

        An item that fails has its entry, with ``error``. An entry is in the manifest before it
        is yielded. Raises BatchStopped (with the cause) where an error of the account, or
        somebody, stopped the batch; InvalidRequest with its place where an item is wrong, after
        what was in flight has ended; OSError where the folder cannot be written.
        """
        settings, began = self._context.settings, time.monotonic()
        texts, order = self._items.texts, self._order
        async with open_items(texts, order, settings, files=self._files) as items:
            with self._folder() as folder, closing(self._writer(folder)) as writer:
                runner, feeder = await self._begin(writer)
                try:
                    async with aclosing(runner.results(feeder.feed(items.read()))) as ended:
                        async for entries in ended:
                            self._summary.count(entries)
                            self._summary.took = time.monotonic() - began
                            for entry in entries:
                                yield entry
                finally:
                    self._summary = replace(self.summary, took=time.monotonic() - began)
                    self._feeder = None  # which refers to this batch
                    if folder is not None:
                        ids = items if items.is_complete else None
                        folder.summarize(openai=self._openai, ids=ids)

    async def detach(self) -> str:
        """Leave the items to the fleet, which feeds them from the store; return the batch's id.

        Idempotent: the same items under the same id resume, whatever ended them, and those that
        failed are tried again. Without id and ``out`` the id is made of the items. Raises as
        `results` does before anything is spoken, and InvalidRequest where a client feeds it.
        """
        settings, files = self._context.settings, not self._remote
        async with open_items(self._items.texts, self._order, settings, files=files) as items:
            self._offer = await self._load_offer()
            with closing(Spool(self._order, self._check)) as spool:
                await spool.take(items.read())
                if self._id is None and not (self._out and batch_of(self._out)):
                    self._id = spool.digest[:16]
                self._about = {"total": str(spool.items), **self._about}
                await detach(self._context, self.id, spool, open=self._open, terms=self._terms)
        with self._folder():
            return self.id

    async def status(self) -> BatchStatus:
        """Return what the fleet has counted. Raises BatchNotFound."""
        return await self._context.ledger.batches.get(self._context.namespace, self.id)

    async def fed_by(self) -> str:
        """Return the boot id of the worker that feeds a detached batch.

        "the fleet" while no worker does; "" for a batch that its own command feeds.
        """
        return await feeder_of(self._context, self.id)

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield the entries of the manifest, then the results that it does not have yet.

        The manifest of a detached batch is in the store, of another in its folder, if that is on
        this machine. Of several entries of one id the last counts. Raises BatchNotFound.
        """
        async with aclosing(ended_items(self._context, self.id)) as entries:
            async for entry in entries:
                yield entry

    async def cancel(self, reason: str = "cancelled by a client") -> int:
        """Stop what waits and what runs; return how many items. Raises BatchNotFound."""
        return await self._context.ledger.batches.cancel(self._context.namespace, self.id, reason)

    async def retry_failed(self) -> int:
        """Speak the items that failed again; return how many.

        The next run writes down how they end.
        """
        return await self._context.ledger.batches.retry_failed(self._context.namespace, self.id)

    async def _begin(self, writer: ResultWriter) -> tuple[BatchRunner, Feeder]:
        ledger, namespace = self._context.ledger, self._context.namespace
        await require_attached(self._context, self.id)
        self._summary = Summary(self.id)
        self._offer = await self._load_offer()
        await self._open()
        before = spent_before(self._prices, writer.manifest.history())
        self._limit = SpendingLimit(self._prices, *self._maxima, before)
        self._feeder = Feeder(
            ledger.jobs, namespace, self.id,
            request=self._request, is_done=writer.is_done, limit=self._limit,
        )  # fmt: skip
        runner = BatchRunner(ledger.batches, namespace, self.id, self._feeder, writer)
        return runner, self._feeder

    async def _load_offer(self) -> FleetOffer:
        return await FleetOffer.load(self._context, self._items.texts, self._order)

    def _check(self, item: Item) -> None:
        SpendingLimit(self._prices, *self._maxima).price(self._request(item, ""))

    def _writer(self, folder: OutputFolder | None) -> ResultWriter:
        context = self._context
        return ResultWriter(
            context.ledger.jobs, context.namespace, context.store, folder,
            remote=self._remote, captions=self._captions,
        )  # fmt: skip

    @contextmanager
    def _folder(self) -> Iterator[OutputFolder | None]:
        if self._out is None:
            yield None
            return
        with closing(OutputFolder(self._out)) as folder:
            folder.note({"batch": self.id, **self._about})
            yield folder

    async def _open(self) -> None:
        about = {name: str(self._order.get(name, "")) for name in ("model", "voice")}
        if self._out is not None:
            about["out"] = str(self._out.absolute())
        await self._context.ledger.batches.open(
            self._context.namespace, self.id, window=self._window,
            about={**about, **self._about}, is_announced=self._is_announced,
        )  # fmt: skip

    def _request(self, item: Item, batch: str | None = None) -> Request:
        batch = self.id if batch is None else batch
        return self._offer.request(item, batch, self._order)


def _complete(order: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Return the order with what the settings say where it says nothing."""
    named = {name: value for name, value in order.items() if value is not None}
    order = {"model": settings.default_model, **named}
    return with_usual_form(order, speakable=settings.speakable, lexicon=settings.lexicon)


def _check_captions(captions: str | None, *, words: bool) -> None:
    if captions is not None:
        check_captions(captions)
    elif words:
        raise InvalidRequest(f"words are told in captions: say which ({', '.join(FORMS)})")


def _terms(
    settings: Settings,
    max_chars: float | None,
    max_cost: float | None,
    captions: CaptionStyle | None,
) -> dict[str, Any]:
    """Return the prices, limits and captions that a worker of a detached batch has to know."""
    prices = {name: price.model_dump(mode="json") for name, price in settings.prices.items()}
    limits = {"max_chars": max_chars, "max_cost": max_cost, "prices": prices}
    return limits | (captions.as_terms() if captions else {})
