"""Items of a batch, read once, with each id once."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

from speechfleet.corpus.corpus_file import CorpusFile
from speechfleet.corpus.disk_index import DiskIndex, FileNameIndex, IndexEntry
from speechfleet.corpus.item import Item, as_item, derived_id
from speechfleet.errors import InvalidRequest
from speechfleet.provider_options import options_of
from speechfleet.settings import Settings
from speechfleet.tts import Msg

log = logging.getLogger(__name__)

SOLE_REFERENCES = 2
"""References to an object that only one name has: the name, and the argument of the count."""

TextItem = str | tuple[str, str] | Msg | Mapping[str, Any] | Item
"""A text, (id, text), a message, or a mapping with ``text``, ``id`` and keywords of its own."""

Texts = Iterable[TextItem] | AsyncIterable[TextItem] | CorpusFile | Path
"""The items of a batch: any iterable, or a corpus in a file."""


class DistinctItems:
    """Read items once, and know their ids.

    ``is_complete``: all of them were read. ``files``: two ids may not be one file name on a disk
    that ignores case.
    """

    def __init__(
        self, items: Iterable[TextItem] | AsyncIterable[TextItem], *, files: bool
    ) -> None:
        self._items = items
        self._index = DiskIndex()
        self._names = FileNameIndex(wanted=files)
        self.is_complete = False

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._index.get(id) is not None

    def close(self) -> None:
        """Close the indexes and drop the items. Idempotent."""
        self._items = ()
        self._index.close()
        self._names.close()

    def read(self) -> Iterable[Item] | AsyncIterable[Item]:
        """Yield each item whose id is new. Raises InvalidRequest at one that is wrong."""
        if isinstance(self._items, AsyncIterable):
            return self._read_async(self._items)
        return self._read(self._items)

    def _read(self, items: Iterable[TextItem]) -> Iterator[Item]:
        for number, value in enumerate(items, 1):
            item = as_item(value, f"item {number}")
            if self._is_new(item):
                yield item
        self.is_complete = True

    async def _read_async(self, items: AsyncIterable[TextItem]) -> AsyncGenerator[Item, None]:
        number = 0
        async for value in items:
            number += 1
            item = as_item(value, f"item {number}")
            if self._is_new(item):
                yield item
        self.is_complete = True

    def _is_new(self, item: Item) -> bool:
        digest = derived_id(item.text, item.fields)
        before = self._index.add(item.id, IndexEntry(digest, "", 0))
        if before is not None and before.digest != digest:
            raise InvalidRequest(f"{item.place}: the id {item.id!r} came before with another text")
        if before is None and (other := self._names.take(item)):
            raise InvalidRequest(
                f"{item.place}: the ids {other!r} and {item.id!r} are one file name on some disks"
            )
        return before is None


class BatchItems:
    """Hold the items of a batch, which may be an open file.

    A file belongs to the program that opened it. One that nobody but the batch refers to any
    more, as in ``batch(open(...))``, is closed with the batch.
    """

    def __init__(self, texts: Texts) -> None:
        """Raises InvalidRequest for one text, which would be spoken letter by letter."""
        if isinstance(texts, str | bytes):
            raise InvalidRequest(
                "a batch takes many texts: give a list of them, or pathlib.Path(...) for a file"
            )
        self.texts = texts

    def __del__(self) -> None:
        texts = self.__dict__.pop("texts", None)
        if isinstance(texts, io.IOBase) and sys.getrefcount(texts) == SOLE_REFERENCES:
            texts.close()


@asynccontextmanager
async def open_items(
    items: Texts, order: Mapping[str, Any], settings: Settings, *, files: bool
) -> AsyncIterator[DistinctItems]:
    """Open the items of a batch. Of a corpus all is checked first.

    Raises InvalidRequest where a line of the corpus is wrong.
    """
    if isinstance(items, Path):
        items = CorpusFile(items)
    if not isinstance(items, CorpusFile):
        with closing(DistinctItems(items, files=files)) as distinct:
            yield distinct
        return
    with items.open(partial(options_of, settings=settings)) as corpus:
        limit = settings.max_text
        examined = await asyncio.to_thread(corpus.examine, order, limit, files=files)
        if examined.bad:
            raise InvalidRequest(
                f"{examined.bad_count:,} of {examined.items + examined.bad_count:,} items are "
                f"wrong, and nothing was spoken; the first: {examined.bad[0]}"
            )
        if notice := corpus.notice(examined):
            log.warning("%s: %s", corpus.source.name, notice)
        with closing(
            DistinctItems(corpus.items(order, limit, files=files), files=files)
        ) as distinct:
            yield distinct
