"""The corpus of a batch that the fleet feeds: one object of the store, one item a line."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from speechfleet.batch.feeder import Items
from speechfleet.corpus.item import Item, take_request_fields
from speechfleet.errors import ObjectExists, ObjectMissing
from speechfleet.in_thread import in_thread
from speechfleet.lexicon import Lexicon
from speechfleet.store import Store

PIECE_BYTES = 1 << 20
"""Bytes of the corpus that are read or written at once."""
JSONL = "application/jsonl"


def as_line(item: Item, order: Mapping[str, Any]) -> bytes:
    """Encode an item as one line, with all that it takes from the order."""
    asked = {**order, **item.fields}
    known = take_request_fields(asked)
    if known.get("lexicon") is not None:
        known["lexicon"] = [
            list(entry) for entry in Lexicon.of(known["lexicon"]).used_in(item.text)
        ]
    line = {"id": item.id, "text": item.text, "fields": {**asked, **known}}
    return json.dumps(line, ensure_ascii=False, sort_keys=True).encode() + b"\n"


class Spool:
    """Hold the checked lines of a corpus in a temporary file."""

    def __init__(self, order: Mapping[str, Any], check: Callable[[Item], None]) -> None:
        self._order = order
        self._check = check
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 # closed by `close`
        self._digest = hashlib.blake2b(digest_size=16)
        self.items = 0
        self.size = 0

    @property
    def digest(self) -> str:
        """Return the digest of all lines, which include the order."""
        return self._digest.hexdigest()

    async def take(self, items: Items) -> None:
        """Write down all items. Raises what they and ``check`` do."""
        if isinstance(items, AsyncIterable):
            async for item in items:
                self._add(item)
        else:
            await in_thread(self._add_all, items)

    def _add_all(self, items: Iterable[Item]) -> None:
        for item in items:
            self._add(item)

    def _add(self, item: Item) -> None:
        self._check(item)
        line = as_line(item, self._order)
        self._file.write(line)
        self._digest.update(line)
        self.items += 1
        self.size += len(line)

    async def upload(self, store: Store, key: str) -> None:
        """Upload all lines as one object; send nothing where it is there already."""
        with suppress(ObjectMissing):
            await store.head(key)
            return
        writing = store.upload(key, media_type=JSONL)
        try:
            self._file.seek(0)
            while piece := self._file.read(PIECE_BYTES):
                await writing.write(piece)
            with suppress(ObjectExists):
                await writing.commit()
        finally:
            await writing.abort()

    def close(self) -> None:
        """Remove the file. Idempotent."""
        self._file.close()


async def read_corpus(
    store: Store, key: str, start: int, end: int, count: int
) -> AsyncGenerator[tuple[list[Item], int], None]:
    """Yield the items of the bytes [start, end), at most ``count`` at a time, and their end."""
    at, rest = start, b""
    while at < end:
        piece = await store.get(key, at, min(end, at + PIECE_BYTES))
        if not piece:
            raise ObjectMissing(f"{key} ends before it should")
        group_end = at - len(rest)
        at += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for first in range(0, len(lines), count):
            group = lines[first : first + count]
            group_end += sum(len(line) + 1 for line in group)
            yield [_item(line) for line in group], group_end


def _item(line: bytes) -> Item:
    fields = json.loads(line)
    return Item(fields["id"], fields["text"], fields["fields"], fields["id"])
