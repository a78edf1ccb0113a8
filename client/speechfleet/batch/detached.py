"""A batch that the fleet feeds: its corpus and its manifest are in the store.

A client uploads the corpus (`detach`). A worker reads it, writes the manifest in numbered parts
and resumes where another worker died (`RemoteResultWriter`). Any client fetches what was made
(`fetch_results`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from speechfleet.batch.item_captions import CaptionStyle, ItemCaptions
from speechfleet.batch.manifest import NAME, Entry, Manifest, as_lines
from speechfleet.batch.output_folder import OutputFolder
from speechfleet.batch.remote_manifest import RemoteManifest
from speechfleet.batch.spool import JSONL, Spool
from speechfleet.batch.writer import ResultWriter, fetch
from speechfleet.captions import MEDIA_TYPES
from speechfleet.context import Context
from speechfleet.corpus.item import Item
from speechfleet.errors import BatchNotFound, InvalidRequest, ObjectExists, ObjectMissing
from speechfleet.in_thread import in_thread
from speechfleet.job import AsyncJob
from speechfleet.ledger import Feeding, FeedLost, Feeds, Jobs, Result
from speechfleet.ledger.batch_status import UNDER_WAY
from speechfleet.ledger.batches import item_id
from speechfleet.request import Request
from speechfleet.store import Store, layout

log = logging.getLogger(__name__)

MAX_CONCURRENT_ITEMS = 16
"""Items that are fetched, or deleted, at once."""


async def detach(
    context: Context,
    id: str,
    spool: Spool,
    *,
    open: Callable[[], Awaitable[None]],
    terms: Mapping[str, Any],
) -> None:
    """Put the corpus where every worker can read it, and have the fleet feed it."""
    namespace, feeds, batches = context.namespace, context.ledger.feeds, context.ledger.batches
    feed = await feeds.find(namespace, id)
    if feed is None:
        with suppress(BatchNotFound):
            if (await batches.get(namespace, id)).submitted:
                raise InvalidRequest(
                    f"batch {id!r} is fed by its own command, which resumes it; "
                    "give another --id to detach"
                )
    key = layout.corpus_object(namespace, id, spool.digest)
    await spool.upload(context.store, key)
    running = (namespace, id) in await feeds.unfinished()
    await open()
    if feed is not None and not running:
        await batches.retry_failed(namespace, id)
    await feeds.open(namespace, id, object=key, size=spool.size, terms=terms)


async def require_attached(context: Context, id: str) -> None:
    """Raise InvalidRequest if the fleet feeds the batch: no client can."""
    if await context.ledger.feeds.find(context.namespace, id) is not None:
        raise InvalidRequest(
            f"the fleet itself feeds batch {id!r}: `speechfleet batch results {id} --out DIR` "
            "fetches what is spoken; or give another id"
        )


class RemoteResultWriter(ResultWriter):
    """Keep the manifest of a detached batch in the store. `load` it before, `close` it after."""

    def __init__(self, jobs: Jobs, store: Store, feeding: Feeding) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="speechfleet-")
        manifest = Manifest(Path(self._scratch.name) / NAME)
        super().__init__(jobs, feeding.feed.namespace, store, None, manifest=manifest)
        self._feeding = feeding
        self._own: list[str] = []
        style = CaptionStyle.of(feeding.feed.terms)
        if style is not None:
            self._captions = ItemCaptions(jobs, store, feeding.feed.namespace, style)

    def is_done(self, item: Item, request: Request) -> bool:
        """Return True for an item that ended, well or not: a failed one waits for a request."""
        mark = self.manifest.get(item.id)
        return mark is not None and mark.digest == request.digest

    async def load(self, feeds: Feeds) -> None:
        """Read what the manifest has already, whoever wrote it."""
        feed = self._feeding.feed
        manifest = RemoteManifest(feeds, self._store, feed.namespace, feed.id)
        async for entries in manifest.entries():
            await in_thread(self.manifest.append, entries)
        for why in manifest.refused:
            log.warning("an entry of batch %s is left out: %s", feed.id, why)
        await self.sweep(feeds)

    async def sweep(self, feeds: Feeds) -> None:
        """Delete the parts that no manifest has: their writer died, or lost the feed, before
        they were added. Their results come again. Raises StoreError.
        """
        feed = self._feeding.feed
        stored = await self._store.list(layout.manifest_parts(feed.namespace, feed.id))
        # Read after the store: a part that was added meanwhile is known by now.
        known = {*await feeds.parts(feed.namespace, feed.id), *self._own}
        for key in stored:
            if key not in known:
                await self._store.delete(key)

    def close(self) -> None:
        """Close the manifest and remove its local copy."""
        super().close()
        self._scratch.cleanup()

    async def _place(self, result: Result, item: Item, request: Request) -> Entry:
        """Leave the audio where it is, and store the captions: their record soon expires."""
        place = await super()._place(result, item, request)
        if self._captions is None:
            return place
        feed = self._feeding.feed
        form = self._captions.style.form
        captioned = await self._captions.of_item(result, request)
        key = layout.captions_object(feed.namespace, feed.id, item.id, form)
        with suppress(ObjectExists):  # of an earlier reading of the same result
            await self._store.put(key, captioned.text.encode(), media_type=MEDIA_TYPES[form])
        return {**place, "captions": key, **captioned.entry()}

    async def _append(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        feed = self._feeding.feed
        part = f"{self._feeding.token}-{len(self._own) + 1}"
        key = layout.manifest_object(feed.namespace, feed.id, part)
        self._own.append(key)
        with suppress(ObjectExists):  # our own: the answer was lost
            await self._store.put(key, as_lines(entries), media_type=JSONL)
        try:
            await self._feeding.add_part(key)
        except FeedLost:  # who feeds it now may have swept already
            await self._store.delete(key)
            raise
        await super()._append(entries)


async def fetch_results(context: Context, id: str, out: Path) -> AsyncGenerator[list[Entry], None]:
    """Fetch audio and manifest into a folder, as if an attached run had written them.

    Yields entries that are new there, once their audio is there; resumes where it was
    interrupted. Entries that no fleet writes are left out: after all others are fetched,
    InvalidRequest names the first.
    """
    remote = RemoteManifest(context.ledger.feeds, context.store, context.namespace, id)
    with closing(OutputFolder(out)) as folder:
        folder.note({"batch": id})
        try:
            async for entries in remote.entries():
                new = [entry for entry in entries if _is_new(folder, entry)]
                for first in range(0, len(new), MAX_CONCURRENT_ITEMS):
                    group = new[first : first + MAX_CONCURRENT_ITEMS]
                    fetched = await asyncio.gather(
                        *(_fetched(context.store, folder, entry) for entry in group)
                    )
                    await in_thread(folder.manifest.append, fetched)
                    yield list(fetched)
        finally:
            folder.summarize(openai=False)
    if remote.refused:
        raise InvalidRequest(
            f"{len(remote.refused):,} entries of batch {id!r} in the store are not what a fleet "
            f"writes, and were left out; the first: {remote.refused[0]}"
        )


async def delete(context: Context, id: str) -> None:
    """Erase the batch: corpus, manifest, and the audio that the manifest names.

    An interrupted deletion can be repeated. Segments stay, as the cache that they are, and so
    does what an attached run has made. Raises BatchNotFound; InvalidRequest where it runs.
    """
    namespace, store, ledger = context.namespace, context.store, context.ledger
    now = await ledger.batches.get(namespace, id)
    feed = await ledger.feeds.find(namespace, id)
    is_fed = feed is not None and (feed.boot or now.state in UNDER_WAY)
    if is_fed or now.outstanding:
        raise InvalidRequest(
            f"batch {id!r} runs: `speechfleet batch cancel {id}` stops it, then delete it"
        )
    remote = RemoteManifest(ledger.feeds, store, namespace, id)
    with suppress(ObjectMissing):  # an interrupted deletion removed the manifest
        async with contextlib.aclosing(remote.entries()) as parts:
            async for entries in parts:
                for first in range(0, len(entries), MAX_CONCURRENT_ITEMS):
                    group = entries[first : first + MAX_CONCURRENT_ITEMS]
                    jobs = [AsyncJob(context, item_id(id, entry["id"])) for entry in group]
                    await asyncio.gather(*(job.delete() for job in jobs))
    await store.sweep(layout.objects_of_batch(namespace, id))
    await ledger.batches.delete(namespace, id)


def _is_new(folder: OutputFolder, entry: Entry) -> bool:
    """Return True if the folder lacks a file of it, or its manifest has another result."""
    mark = folder.manifest.get(entry["id"])
    if mark is None or (mark.digest, mark.state) != (entry["digest"], entry["state"]):
        return True
    return "object" in entry and not all(folder.has(path) for _, path in _files(folder, entry))


async def _fetched(store: Store, folder: OutputFolder, entry: Entry) -> Entry:
    if "object" not in entry:
        return entry
    files = _files(folder, entry)
    for object, path in files:
        await fetch(store, object, folder, path)
    first = {name: entry[name] for name in ("id", "text", "state")}
    place = {"path": folder.relative(files[0][1])}
    return {**first, **place, **{name: v for name, v in entry.items() if name != "path"}}


def _files(folder: OutputFolder, entry: Entry) -> list[tuple[str, Path]]:
    """Return the objects of an entry, each with its place in the folder; the audio first."""
    item = Item(entry["id"], entry["text"])
    files = [(entry["object"], folder.audio_path(item, entry.get("format") or "wav"))]
    if captions := entry.get("captions"):
        files.append((captions, folder.captions_path(item, captions.rpartition(".")[2])))
    return files
