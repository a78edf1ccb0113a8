"""Finds files and batches of one namespace, and knows which file a batch has put out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from speechfleet.errors import BatchNotFound
from speechfleet.gateway.batches.batch_output import BatchOutput, Links, content_of
from speechfleet.gateway.batches.batch_view import FaceOfBatch, Notes
from speechfleet.gateway.batches.file_listing import batch_of_output, output_file
from speechfleet.gateway.context import RequestContext
from speechfleet.gateway.errors import FileNotFound
from speechfleet.ledger.files import UNKNOWN_SIZE, StoredFile


class Shelf:
    """The files and batches that one request may see."""

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._client = context.client
        self._files = context.client.ledger.files
        self._namespace = context.client.namespace

    async def batch(self, id: str) -> FaceOfBatch:
        """Return a batch, and list the files of one that is over. Raises BatchNotFound."""
        ledger = self._client.ledger
        status = await ledger.batches.get(self._namespace, id)
        notes = Notes.of(status)
        if notes is None:
            raise BatchNotFound(f"batch {id!r} was not made by /v1/batches")
        feed = await ledger.feeds.find(self._namespace, id)
        face = FaceOfBatch(status, notes, is_fed=bool(feed and feed.boot))
        lifetime = notes.output_lifetime_s or self._context.settings.record_ttl
        for kind in face.outputs:
            file = output_file(id, kind, status.updated, lifetime)
            known = await self._files.register(self._namespace, file)
            if known.created != file.created and not known.deleted:  # lines were tried again
                await self._files.resize(self._namespace, file, UNKNOWN_SIZE)
        if face.is_over:
            await ledger.batch_orders.listed(self._namespace, id)
        return face

    async def list_outputs(self) -> None:
        """List the files of all batches that have ended since this was last asked."""
        for id in await self._client.ledger.batch_orders.unlisted(self._namespace):
            try:
                await self.batch(id)
            except BatchNotFound:
                await self._client.ledger.batch_orders.listed(self._namespace, id)

    async def file(self, id: str) -> StoredFile:
        """Return a file. Raises FileNotFound."""
        made_by = batch_of_output(id)
        file = await self._files.find(self._namespace, id)
        if file is None and made_by is not None:  # nobody has asked for the batch since its end
            try:
                await self.batch(made_by[0])
            except BatchNotFound:
                raise _missing(id) from None
            file = await self._files.find(self._namespace, id)
        if file is None:
            raise _missing(id)
        return file

    async def sized(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        """Return the files with their sizes; those of outputs are counted once."""
        return [await self._sized(file) for file in files]

    def content(self, file: StoredFile, *, inline: bool = False) -> AsyncGenerator[bytes, None]:
        """Return the pieces of a file. ``inline``: as in `Links`."""
        return content_of(self._client, file, self._links(inline=inline))

    def _links(self, *, inline: bool = False) -> Links:
        base = str(self._context.request.base_url).rstrip("/")
        return Links(base, self._context.settings.gateway_redirect, inline)

    async def _sized(self, file: StoredFile) -> StoredFile:
        made_by = batch_of_output(file.id)
        if file.bytes != UNKNOWN_SIZE or made_by is None:
            return file
        batch, kind = made_by
        size = await BatchOutput(self._client, batch, self._links()).size(kind)
        return await self._files.resize(self._namespace, file, size)


def _missing(id: str) -> FileNotFound:
    return FileNotFound(f"there is no file {id[:100]!r}: never uploaded, deleted, or expired")
