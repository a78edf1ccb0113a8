"""The lines of the output and error files of a batch, made from its manifest when they are read.

So a URL in them is as fresh as the reading, and nothing has to be written when a batch ends.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from speechfleet.batch.manifest import Entry
from speechfleet.batch.remote_manifest import RemoteManifest
from speechfleet.batch.spool import read_corpus
from speechfleet.client import AsyncClient
from speechfleet.corpus.item import Item
from speechfleet.errors import ObjectMissing
from speechfleet.gateway.batches.batch_input import ENDPOINT
from speechfleet.gateway.batches.file_listing import ERRORS, OUTPUT, batch_of_output
from speechfleet.ledger import BatchState
from speechfleet.ledger.batch_orders import EXPIRED_CODE, EXPIRED_MESSAGE
from speechfleet.ledger.batches import item_id
from speechfleet.ledger.files import StoredFile
from speechfleet.lifecycle import State
from speechfleet.store import layout
from speechfleet.store.long_object import pieces_of

LINES_AT_ONCE = 500
INLINE_BYTES = 1 << 20
"""The largest audio that a line may hold itself."""
LINK_LIFETIME_S = 7 * 86400.0
STATES = {OUTPUT: State.SUCCEEDED, ERRORS: State.FAILED}


@dataclass(frozen=True)
class Links:
    """The places of audio that the lines name.

    ``base``: the URL of this gateway, as its client sees it. ``presigned``: at the store itself,
    if that can be. ``inline``: small audio also in the line.
    """

    base: str
    presigned: bool = False
    inline: bool = False


class BatchOutput:
    """The lines that one batch puts out."""

    def __init__(self, client: AsyncClient, id: str, links: Links) -> None:
        self._client = client
        self._id = id
        self._links = links

    async def pieces(self, kind: str) -> AsyncGenerator[bytes, None]:
        """Yield the file of a kind, some lines at a time. Raises StoreError, FleetUnavailable."""
        if kind == OUTPUT:
            async with aclosing(self._entries(kind)) as groups:
                async for entries in groups:
                    yield _joined([await self._spoken(entry) for entry in entries])
            return
        refused = set[int]()
        async with aclosing(self._refused()) as groups:
            async for lines in groups:
                refused.update(line["line"] for line in lines)
                yield _joined([self._failed(line["custom_id"], line["body"], line)
                               for line in lines])  # fmt: skip
        numbers: dict[str, int] = {}
        async with aclosing(self._entries(kind)) as groups:
            async for entries in groups:
                numbers = numbers or await self._line_numbers(refused)
                yield _joined([self._failed_entry(entry, numbers) for entry in entries])
        async with aclosing(self._expired(refused)) as groups:
            async for lines in groups:
                yield _joined(lines)

    async def size(self, kind: str) -> int:
        """Count the bytes of a file."""
        size = 0
        async with aclosing(self.pieces(kind)) as pieces:
            async for piece in pieces:
                size += len(piece)
        return size

    async def _entries(self, kind: str) -> AsyncGenerator[list[Entry], None]:
        """Yield the last entry of each id that ended so, a part of the manifest at a time."""
        last = {id: number for id, (number, _) in (await self._last_entries()).items()}
        number = 0
        async with aclosing(self._manifest().entries()) as parts:
            async for entries in parts:
                numbered = enumerate(entries, number)
                number += len(entries)
                wanted = [
                    entry
                    for at, entry in numbered
                    if last.get(entry["id"]) == at and entry["state"] == STATES[kind]
                ]
                for first in range(0, len(wanted), LINES_AT_ONCE):
                    yield wanted[first : first + LINES_AT_ONCE]

    async def _last_entries(self) -> dict[str, tuple[int, State]]:
        """Return custom_id -> number and state of its last entry in the manifest."""
        last: dict[str, tuple[int, State]] = {}
        number = 0
        async with aclosing(self._manifest().entries()) as parts:
            async for entries in parts:
                for entry in entries:
                    last[entry["id"]] = number, State(entry["state"])
                    number += 1
        return last

    async def _expired(self, refused: set[int]) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Yield the lines that a batch which has expired has not spoken."""
        client = self._client
        status = await client.ledger.batches.get(client.namespace, self._id)
        if status.state is not BatchState.EXPIRED:
            return
        last = await self._last_entries()
        error = {"code": EXPIRED_CODE, "message": EXPIRED_MESSAGE}
        async with aclosing(self._numbered_items(refused)) as groups:
            async for items in groups:
                yield [
                    self._failed(item.id, self._body(item), {**error, "line": line})
                    for line, item in items
                    if last.get(item.id, (0, None))[1] not in STATES.values()
                ]

    def _body(self, item: Item) -> dict[str, Any]:
        request = item.request(self._id, {}, self._client.settings.max_text)
        body = {"model": request.model, "voice": request.voice, "input": item.text}
        return {**body, "response_format": request.format or "wav", **request.options}

    def _manifest(self) -> RemoteManifest:
        client = self._client
        return RemoteManifest(client.ledger.feeds, client.store, client.namespace, self._id)

    async def _spoken(self, entry: Entry) -> dict[str, Any]:
        names = ("duration", "bytes", "sample_rate", "media_type", "model", "voice")
        body = {
            "object": "audio.speech",
            "job_id": item_id(self._id, entry["id"]),
            "format": entry.get("format", "wav"),
            **{name: entry[name] for name in names if name in entry},
            "url": await self._url(entry),
        }
        if self._links.inline and entry["bytes"] <= INLINE_BYTES:
            with suppress(ObjectMissing):
                body["audio"] = b64encode(await self._client.store.get(entry["object"])).decode()
        answer = {"status_code": 200, "request_id": entry["digest"], "body": body}
        return {**self._named(entry["id"]), "response": answer, "error": None}

    async def _url(self, entry: Entry) -> str:
        key = entry["object"]
        if self._links.presigned:
            link = await self._client.store.link(key, LINK_LIFETIME_S)
            if urlsplit(link).scheme.startswith("http"):
                return link
        path = (self._id, "audio", entry["id"], key.rpartition("/")[2])
        return f"{self._links.base}/v1/batches/" + "/".join(quote(part, safe="") for part in path)

    def _failed_entry(self, entry: Entry, numbers: dict[str, int]) -> dict[str, Any]:
        """Return a line that also holds its request, so that the file is an input file again."""
        body = {"model": entry["model"], "voice": entry["voice"], "input": entry["text"]}
        body |= {"response_format": entry.get("format", "wav"), **entry.get("options", {})}
        error = {**entry.get("error", {}), "line": numbers.get(entry["id"])}
        return self._failed(entry["id"], body, error)

    def _failed(self, id: str, body: dict[str, Any], error: dict[str, Any]) -> dict[str, Any]:
        problem = {name: error.get(name) for name in ("code", "message", "line")}
        request = {"method": "POST", "url": ENDPOINT, "body": body}
        return {**self._named(id), "response": None, "error": problem, **request}

    def _named(self, id: str) -> dict[str, str]:
        digest = hashlib.blake2b(f"{self._id}\n{id}".encode(), digest_size=12).hexdigest()
        return {"id": f"batch_req_{digest}", "custom_id": id}

    async def _refused(self) -> AsyncGenerator[list[dict[str, Any]], None]:
        client = self._client
        key = layout.rejected_object(client.namespace, self._id)
        try:
            size = (await client.store.head(key)).size
        except ObjectMissing:
            return
        rest = b""
        async for piece in pieces_of(client.store, key, 0, size):
            *lines, rest = (rest + piece).split(b"\n")
            yield [json.loads(line) for line in lines]

    async def _line_numbers(self, refused: set[int]) -> dict[str, int]:
        """Return custom_id -> line of the input."""
        numbers = dict[str, int]()
        async with aclosing(self._numbered_items(refused)) as groups:
            async for items in groups:
                numbers |= {item.id: line for line, item in items}
        return numbers

    async def _numbered_items(
        self, refused: set[int]
    ) -> AsyncGenerator[list[tuple[int, Item]], None]:
        """Yield the items with the numbers of their lines: those of the input but the refused."""
        client = self._client
        feed = await client.ledger.feeds.find(client.namespace, self._id)
        if feed is None:
            return
        lines = (line for line in itertools.count(1) if line not in refused)
        corpus = read_corpus(client.store, feed.object, 0, feed.size, LINES_AT_ONCE)
        async with aclosing(corpus) as groups:
            async for items, _ in groups:
                yield [(next(lines), item) for item in items]


def content_of(client: AsyncClient, file: StoredFile, links: Links) -> AsyncGenerator[bytes, None]:
    """Return the pieces of a file: of an upload, or of what a batch puts out."""
    if (made_by := batch_of_output(file.id)) is not None:
        batch, kind = made_by
        return BatchOutput(client, batch, links).pieces(kind)
    return pieces_of(client.store, layout.file_object(client.namespace, file.id), 0, file.bytes)


def _joined(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
