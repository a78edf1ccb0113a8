"""Writes results down: audio files, captions, entries of the manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from speechfleet.batch.feeder import PricedItem
from speechfleet.batch.item_captions import CaptionStyle, ItemCaptions
from speechfleet.batch.manifest import Entry, Manifest, entry_of
from speechfleet.batch.output_folder import OutputFolder
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest
from speechfleet.in_thread import in_thread
from speechfleet.ledger import Jobs, Result
from speechfleet.lifecycle import State
from speechfleet.request import Request
from speechfleet.store import Store

MAX_CONCURRENT_FETCHES = 32
PIECE_BYTES = 2 << 20
"""Bytes of an object that are in memory while it is fetched."""


class ResultWriter:
    """Write the results of one batch. ``folder`` None: make the entries only.

    ``remote``: the audio stays where it is stored. ``manifest``: instead of the folder's.
    """

    def __init__(
        self,
        jobs: Jobs,
        namespace: str,
        store: Store,
        folder: OutputFolder | None,
        *,
        remote: bool = False,
        captions: CaptionStyle | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        self._jobs = jobs
        self._namespace = namespace
        self._store = store
        self._folder = folder
        self._remote = remote or folder is None
        self._captions: ItemCaptions | None = None
        if captions is not None:
            if folder is None:
                raise InvalidRequest("captions are files: give `out` a folder for them")
            self._captions = ItemCaptions(jobs, store, namespace, captions)
        self._places = asyncio.Semaphore(MAX_CONCURRENT_FETCHES)
        self._links: list[tuple[str, Path]] = []
        if manifest is None:
            manifest = Manifest(None) if folder is None else folder.manifest
        self.manifest = manifest

    def close(self) -> None:
        """Close the manifest, unless it is the folder's. Idempotent."""
        if self._folder is None:
            self.manifest.close()

    def is_done(self, item: Item, request: Request) -> bool:
        """Return True if this request was spoken, and its audio and captions are in place.

        If captions are missing, because nobody asked for them before, the item is spoken once
        more, from the cache.
        """
        mark = self.manifest.get(item.id)
        if mark is None or (mark.digest, mark.state) != (request.digest, State.SUCCEEDED):
            return False
        folder = self._folder
        if folder is None:
            return True
        if self._captions:
            path = folder.captions_path(item, self._captions.style.form)
            if not folder.has(path):
                return False
        return self._remote or folder.has(folder.audio_path(item, request.format))

    async def write(
        self,
        ended: Sequence[tuple[Result, PricedItem | None]],
        announce: Callable[[Sequence[Entry]], None],
    ) -> list[Entry]:
        """Write entries down; return the new ones.

        ``announce`` gets these before they are written: from then on they are done, for the
        feeder as well. What was withdrawn, or is no longer known, has no entry. Where an answer
        of Redis was lost, an item may have been sent and spoken (from the cache) once more.
        """
        found = await asyncio.gather(*(self._entry(result, fed) for result, fed in ended))
        links, self._links = self._links, []
        if links and self._folder is not None:
            await link_all(self._store, links, self._folder)
        entries = [entry for entry in found if entry is not None]
        fed_ids = {result.item for result, fed in ended if fed is not None}
        news = [entry for entry in entries if entry["id"] in fed_ids or not self._is_known(entry)]
        announce(news)
        await self._append(entries)
        return news

    async def _append(self, entries: Sequence[Entry]) -> None:
        await in_thread(self.manifest.append, entries)

    def _is_known(self, entry: Entry) -> bool:
        mark = self.manifest.get(entry["id"])
        return mark is not None and (mark.digest, mark.state) == (
            entry["digest"],
            State.SUCCEEDED,
        )

    async def _entry(self, result: Result, fed: PricedItem | None) -> Entry | None:
        if result.withdrawn:
            return None
        if fed is None:
            # Of an earlier run of the same batch, and not fed again yet (or its line is gone).
            record = await self._jobs.find(self._namespace, result.job_id)
            if record is None:
                return None
            item, request = Item(result.item, record.request.text), record.request
        else:
            item, request = fed.item, fed.request
        place: Entry = {}
        if result.state is State.SUCCEEDED:
            place = await self._place(result, item, request)
        return entry_of(result, request, place)

    async def _place(self, result: Result, item: Item, request: Request) -> Entry:
        """Bring the audio to its place; return what the manifest says of it."""
        if self._folder is None:
            return {"object": result.object}
        async with self._places:
            found: Entry = {}
            if self._captions is not None:
                captioned = await self._captions.of_item(result, request)
                captions_path = self._folder.captions_path(item, self._captions.style.form)
                await in_thread(self._folder.write, captions_path, captioned.text.encode())
                found = captioned.entry()
            if self._remote:
                return {"object": result.object, **found}
            path = self._folder.audio_path(item, request.format)
            if self._store.local_path(result.object) is not None:
                self._links.append((result.object, path))  # all together, in one thread
            else:
                await fetch(self._store, result.object, self._folder, path)
            return {"path": self._folder.relative(path), "object": result.object, **found}


async def link_all(store: Store, links: Sequence[tuple[str, Path]], folder: OutputFolder) -> None:
    """Link objects of a store on this machine into a folder, all in one thread.

    Raises StoreError where an object, or the store itself, is not there; OSError for the folder.
    """

    def link_each() -> str:
        for object, path in links:
            local = store.local_path(object)
            assert local is not None
            try:
                folder.link(local, path)
            except OSError:
                if local.exists():
                    raise
                return object
        return ""

    if missing := await in_thread(link_each):
        await store.head(missing)  # tells an object that is gone from a store that is away
        await link_all(store, links, folder)


async def fetch(store: Store, object: str, folder: OutputFolder, path: Path) -> None:
    """Make a stored object a file of the folder, without reading all of it into memory.

    Raises InvalidRequest for an illegal object key, StoreError, OSError.
    """
    if store.local_path(object) is not None:
        await link_all(store, [(object, path)], folder)
        return
    with folder.writing(path) as file:
        start = 0
        while piece := await store.get(object, start, start + PIECE_BYTES):
            await in_thread(file.write, piece)
            start += len(piece)
            if len(piece) < PIECE_BYTES:
                break
