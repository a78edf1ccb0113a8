"""A batch that the fleet feeds: its corpus and its manifest lie in the store.

A client puts the corpus there (`detach`); a worker reads it, writes the manifest in numbered
parts and goes on where another died (`read_corpus`, `RemoteDelivery`); any client fetches what
was made (`fetch_results`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechfleet import keys
from speechfleet.corpus.delivery import Delivery, fetch
from speechfleet.corpus.feeding import Items
from speechfleet.corpus.folder import Folder
from speechfleet.corpus.item import REQUEST_FIELDS, Item
from speechfleet.corpus.manifest import NAME, Entry, Manifest
from speechfleet.errors import BatchNotFound, InvalidRequest, ObjectExists, ObjectMissing
from speechfleet.jobs import Request
from speechfleet.ledger import BatchState, Feeding, Feeds, Jobs
from speechfleet.ledger.batches import item_id
from speechfleet.store import Store

if TYPE_CHECKING:
    from speechfleet.client import AsyncClient

PIECE = 1 << 20
"""Bytes of the corpus that are read or written at once."""
AT_ONCE = 16
"""Parts of a manifest that are read at once."""
JSONL = "application/jsonl"


def as_line(item: Item, order: Mapping[str, Any]) -> bytes:
    """An item on a line of its own, with all that it takes from the order."""
    asked = {**order, **item.fields}
    known = {name: asked.pop(name) for name in REQUEST_FIELDS if name in asked}
    line = {"id": item.id, "text": item.text, "fields": {**asked, **known}}
    return json.dumps(line, ensure_ascii=False, sort_keys=True).encode() + b"\n"


class Spool:
    """The checked lines of a corpus, in a temporary file of this machine. `close` it."""

    def __init__(self, order: Mapping[str, Any], check: Callable[[Item], None]) -> None:
        self._order = order
        self._check = check
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 # closed by `close`
        self._digest = hashlib.blake2b(digest_size=16)
        self.items = 0
        self.size = 0

    @property
    def digest(self) -> str:
        """Of all lines, and so of the order too."""
        return self._digest.hexdigest()

    async def take(self, items: Items) -> None:
        """All of them. Raises what they and ``check`` do."""
        if isinstance(items, AsyncIterable):
            async for item in items:
                self._add(item)
        else:
            await asyncio.to_thread(self._add_all, items)

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
        """As one object; nothing is sent where it is there already."""
        with suppress(ObjectMissing):
            await store.head(key)
            return
        writing = store.upload(key, media_type=JSONL)
        try:
            self._file.seek(0)
            while piece := self._file.read(PIECE):
                await writing.write(piece)
            with suppress(ObjectExists):
                await writing.commit()
        finally:
            await writing.abort()

    def close(self) -> None:
        self._file.close()


async def detach(
    client: AsyncClient,
    id: str,
    spool: Spool,
    *,
    open: Callable[[], Awaitable[None]],
    terms: Mapping[str, Any],
) -> None:
    """Put the corpus where every worker can read it, and have the fleet feed it."""
    namespace, feed = client.namespace, await client.feeds.find(client.namespace, id)
    if feed is None:
        with suppress(BatchNotFound):
            if (await client.batches.get(namespace, id)).submitted:
                raise InvalidRequest(
                    f"batch {id!r} is fed by its own command, which goes on with it; "
                    "give another --id to detach"
                )
    key = keys.corpus_object(namespace, id, spool.digest)
    await spool.upload(client.store, key)
    running = (namespace, id) in await client.feeds.unfinished()
    await open()
    if feed is not None and not running:
        await client.batches.retry_failed(namespace, id)
    await client.feeds.open(namespace, id, object=key, size=spool.size, terms=terms)


async def read_corpus(
    store: Store, key: str, start: int, end: int, count: int
) -> AsyncGenerator[tuple[list[Item], int], None]:
    """The items of the bytes [start, end), at most ``count`` at a time, and where each ends."""
    at, rest = start, b""
    while at < end:
        piece = await store.get(key, at, min(end, at + PIECE))
        if not piece:
            raise ObjectMissing(f"{key} ends before it should")
        behind = at - len(rest)
        at += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for first in range(0, len(lines), count):
            bulk = lines[first : first + count]
            behind += sum(len(line) + 1 for line in bulk)
            yield [_item(line) for line in bulk], behind


def _item(line: bytes) -> Item:
    fields = json.loads(line)
    return Item(fields["id"], fields["text"], fields["fields"], fields["id"])


class RemoteDelivery(Delivery):
    """Keeps the manifest in the store. `load` it before, `close` it after."""

    def __init__(self, jobs: Jobs, store: Store, feeding: Feeding) -> None:
        super().__init__(jobs, feeding.feed.namespace, store, None, remote=True, captions=None)
        self._feeding = feeding
        self._scratch = tempfile.TemporaryDirectory(prefix="speechfleet-")
        self._written = 0
        self.manifest = Manifest(Path(self._scratch.name) / NAME)

    def done(self, item: Item, request: Request) -> bool:
        """Whether it ended, well or not: what failed is spoken again when somebody asks."""
        mark = self.manifest.get(item.id)
        return mark is not None and mark.digest == request.digest

    async def load(self, feeds: Feeds) -> None:
        """What stands in the manifest already, whoever wrote it."""
        feed = self._feeding.feed
        async for entries in parts(feeds, self._store, feed.namespace, feed.id):
            await asyncio.to_thread(self.manifest.append, entries)

    def close(self) -> None:
        self.manifest.close()
        self._scratch.cleanup()

    async def _write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        feed = self._feeding.feed
        self._written += 1
        part = f"{self._feeding.token}-{self._written}"
        key = keys.manifest_object(feed.namespace, feed.id, part)
        data = b"".join(json.dumps(e, ensure_ascii=False).encode() + b"\n" for e in entries)
        with suppress(ObjectExists):  # our own: the answer was lost
            await self._store.put(key, data, media_type=JSONL)
        await self._feeding.add_part(key)
        await super()._write(entries)


async def parts(
    feeds: Feeds, store: Store, namespace: str, id: str
) -> AsyncGenerator[list[Entry], None]:
    """The manifest's entries as they were written, a part at a time."""
    names = await feeds.parts(namespace, id)
    for first in range(0, len(names), AT_ONCE):
        bulk = names[first : first + AT_ONCE]
        for data in await asyncio.gather(*(store.get(name) for name in bulk)):
            yield [json.loads(line) for line in data.split(b"\n") if line]


async def fetch_results(
    client: AsyncClient, id: str, out: Path
) -> AsyncGenerator[list[Entry], None]:
    """Audio and manifest into a folder, as if an attached run had written them; what is new,
    once it is there. Goes on where it was interrupted.
    """
    folder = Folder(out)
    try:
        folder.note({"batch": id})
        async for entries in parts(client.feeds, client.store, client.namespace, id):
            new = [each for each in entries if _is_new(folder, each)]
            for first in range(0, len(new), AT_ONCE):
                bulk = new[first : first + AT_ONCE]
                fetched = await asyncio.gather(*(_fetched(client.store, folder, e) for e in bulk))
                await asyncio.to_thread(folder.manifest.append, fetched)
                yield list(fetched)
    finally:
        folder.summarize(openai=False)
        folder.close()


async def delete(client: AsyncClient, id: str) -> None:
    """Erase the batch: corpus, manifest, and the audio that the manifest tells of. Idempotent
    until it is through: what is interrupted can be repeated.

    Segments stay, as the cache that they are, and so does what an attached run has made. Raises
    BatchNotFound; InvalidRequest where the batch runs.
    """
    namespace, store = client.namespace, client.store
    now = await client.batches.get(namespace, id)
    feed = await client.feeds.find(namespace, id)
    fed = feed is not None and (feed.boot or now.state is BatchState.OPEN)
    if fed or now.outstanding:
        raise InvalidRequest(
            f"batch {id!r} runs: `speechfleet batch cancel {id}` stops it, then delete it"
        )
    with suppress(ObjectMissing):  # an interrupted deletion took away the manifest
        async for entries in parts(client.feeds, store, namespace, id):
            for first in range(0, len(entries), AT_ONCE):
                jobs = [client.job(item_id(id, e["id"])) for e in entries[first : first + AT_ONCE]]
                await asyncio.gather(*(job.delete() for job in jobs))
    await store.sweep(keys.objects_of_batch(namespace, id))
    await client.batches.delete(namespace, id)


def _is_new(folder: Folder, entry: Entry) -> bool:
    """Whether its audio is not here yet, or the folder's manifest tells otherwise."""
    mark = folder.manifest.get(entry["id"])
    if mark is None or (mark.digest, mark.state) != (entry["digest"], entry["state"]):
        return True
    return "object" in entry and not folder.has(_path(folder, entry))


async def _fetched(store: Store, folder: Folder, entry: Entry) -> Entry:
    if "object" not in entry:
        return entry
    path = _path(folder, entry)
    await fetch(store, entry["object"], folder, path)
    first = {name: entry[name] for name in ("id", "text", "state")}
    return {**first, "path": path.relative_to(folder.path).as_posix(), **entry}


def _path(folder: Folder, entry: Entry) -> Path:
    return folder.audio_path(Item(entry["id"], entry["text"]), entry.get("format") or "wav")
