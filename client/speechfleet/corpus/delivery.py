"""What ended, brought to where it was asked for: files, captions, entries of the manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from speechfleet.corpus.captions import Form, captions
from speechfleet.corpus.feeding import Order
from speechfleet.corpus.folder import CAPTIONS, Folder
from speechfleet.corpus.item import Item
from speechfleet.corpus.manifest import Entry, Manifest, entry_of
from speechfleet.jobs import Request, State
from speechfleet.ledger import Jobs, Result
from speechfleet.store import Store
from speechfleet.store.folder import FolderStore

AT_ONCE = 32
"""Objects that are fetched at once."""


class Delivery:
    """Writes one batch down. ``folder`` None: only the entries, to be handed on.

    ``remote``: the audio stays where it is stored.
    """

    def __init__(
        self,
        jobs: Jobs,
        namespace: str,
        store: Store,
        folder: Folder | None,
        *,
        remote: bool,
        captions: Form | None,
    ) -> None:
        self._jobs = jobs
        self._namespace = namespace
        self._store = store
        self._folder = folder
        self._remote = remote or folder is None
        self._captions: Form | None = captions if folder is not None else None
        self._places = asyncio.Semaphore(AT_ONCE)
        self._links: list[tuple[Path, Path]] = []
        self.manifest: Manifest = folder.manifest if folder is not None else Manifest(None)

    def done(self, item: Item, request: Request) -> bool:
        """Whether this very request was spoken, and its audio is where it belongs."""
        mark = self.manifest.get(item.id)
        if mark is None or (mark.digest, mark.state) != (request.digest, State.SUCCEEDED):
            return False
        if self._remote or self._folder is None:
            return True
        return self._folder.has(self._folder.audio_path(item, request.format))

    async def deliver(
        self,
        ended: Sequence[tuple[Result, Order | None]],
        meet: Callable[[Sequence[Entry]], None],
    ) -> list[Entry]:
        """The entries, written down; those that tell something new are returned.

        ``meet`` is told these before they are written: from then on they are `done`, for
        whoever feeds as well. What was withdrawn, or cannot be told, has none. Where an answer
        of Redis was lost, an item may have been sent and spoken (from the cache) once more.
        """
        found = await asyncio.gather(*(self._entry(result, order) for result, order in ended))
        if self._links:
            await asyncio.to_thread(self._link)
        entries = [entry for entry in found if entry is not None]
        fed = {result.item for result, order in ended if order is not None}
        new = [entry for entry in entries if entry["id"] in fed or not self._is_repeated(entry)]
        meet(new)
        await self._write(entries)
        return new

    def _link(self) -> None:
        assert self._folder is not None
        links, self._links = self._links, []
        for source, target in links:
            self._folder.link(source, target)

    async def _write(self, entries: Sequence[Entry]) -> None:
        await asyncio.to_thread(self.manifest.append, entries)

    def _is_repeated(self, entry: Entry) -> bool:
        mark = self.manifest.get(entry["id"])
        return mark is not None and (mark.digest, mark.state) == (
            entry["digest"],
            State.SUCCEEDED,
        )

    async def _entry(self, result: Result, order: Order | None) -> Entry | None:
        if result.withdrawn:
            return None
        if order is None:
            # Of an earlier run of the same batch, and not fed again yet (or its line is gone).
            record = await self._jobs.find(self._namespace, result.job_id)
            if record is None:
                return None
            item, request = Item(result.item, record.request.text), record.request
        else:
            item, request = order.item, order.request
        place: dict[str, str] = {}
        if result.state is State.SUCCEEDED:
            place = await self._place(result, item, request)
        return entry_of(result, request, place)

    async def _place(self, result: Result, item: Item, request: Request) -> dict[str, str]:
        if self._folder is None:
            return {"object": result.object}
        async with self._places:
            if self._captions is not None:
                await self._caption(self._folder, self._captions, result, item, request)
            if self._remote:
                return {"object": result.object}
            path = self._folder.audio_path(item, request.format)
            if isinstance(self._store, FolderStore):
                self._links.append((self._store.root / result.object, path))
            else:
                await fetch(self._store, result.object, self._folder, path)
            return {"path": _relative(path, self._folder), "object": result.object}

    async def _caption(
        self, folder: Folder, form: Form, result: Result, item: Item, request: Request
    ) -> None:
        segments = await self._jobs.segments(self._namespace, result.job_id, result.epoch)
        text = captions(form, request.text, segments, result.sample_rate)
        target = folder.path / CAPTIONS / f"{item.file_name}.{form}"
        await asyncio.to_thread(folder.write, target, text.encode())


async def fetch(store: Store, object: str, folder: Folder, path: Path) -> None:
    """The stored object as a file of the folder."""
    if isinstance(store, FolderStore):
        await asyncio.to_thread(folder.link, store.root / object, path)
    else:
        await asyncio.to_thread(folder.write, path, await store.get(object))


def _relative(path: Path, folder: Folder) -> str:
    return path.relative_to(folder.path).as_posix()
