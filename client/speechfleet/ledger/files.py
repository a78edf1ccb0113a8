"""Files of clients: a small record of each in Redis, its content in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from urllib.parse import unquote

from speechfleet.ledger import batch_keys as keys
from speechfleet.ledger.batch_keys import FileKeys
from speechfleet.ledger.connection import Connection

UPLOAD_LIFETIME_S = 3600.0
"""Seconds after which the object of an upload that did not end is deleted."""
UNKNOWN_SIZE = -1


@dataclass(frozen=True)
class StoredFile:
    """A file of a client. Times are Unix seconds.

    ``bytes``: `UNKNOWN_SIZE` for an output file that nobody has asked about yet; ``deleted``: a
    record that stays so that the file is not made anew.
    """

    id: str
    filename: str
    purpose: str
    bytes: int
    created: float
    expires: float | None = None
    deleted: bool = False


class Files:
    """The files of all namespaces.

    An object in the store has an entry with its time of expiry before it is written, so that
    whatever is interrupted leaves nothing behind for ever.
    """

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def now(self) -> float:
        """Return the server's time, which all times of files are told in."""
        return await self._scripts.time()

    async def begin(self, namespace: str, id: str) -> None:
        """Note that an object is about to be written; without `add` it is deleted later."""
        name, end = FileKeys(namespace, id).name, await self.now() + UPLOAD_LIFETIME_S
        await self._scripts.call("ZADD", keys.EXPIRING_FILES, end, name)

    async def add(self, namespace: str, file: StoredFile) -> None:
        """List a file whose object is in the store."""
        owned = FileKeys(namespace, file.id)
        await self._write(owned, file)
        await self._scripts.call("ZADD", owned.index, int(file.created * 1000), owned.encoded)
        if file.expires is None:
            await self._scripts.call("ZREM", keys.EXPIRING_FILES, owned.name)
        else:
            await self._scripts.call("ZADD", keys.EXPIRING_FILES, file.expires, owned.name)

    async def register(self, namespace: str, file: StoredFile) -> StoredFile:
        """List a file that has no object of its own, unless it is known; return what is known."""
        owned = FileKeys(namespace, file.id)
        if await self._write(owned, file, "NX"):
            await self._scripts.call("ZADD", owned.index, int(file.created * 1000), owned.encoded)
            return file
        return await self._read(owned) or file

    async def resize(self, namespace: str, file: StoredFile, size: int) -> StoredFile:
        """Write down the size of a file that is known, and return the file."""
        sized = replace(file, bytes=size)
        await self._write(FileKeys(namespace, file.id), sized, "XX")
        return sized

    async def find(self, namespace: str, id: str) -> StoredFile | None:
        """Return a file; None where there is none, or where it is deleted or has expired."""
        file = await self._read(FileKeys(namespace, id))
        return None if file is None or file.deleted else file

    async def ids(self, namespace: str) -> list[str]:
        """List the ids of all files, oldest first; some may be deleted or have expired."""
        found = await self._scripts.call("ZRANGE", keys.files(namespace), 0, -1)
        return [unquote(name.decode()) for name in found]

    async def get_all(self, namespace: str, ids: Sequence[str]) -> list[StoredFile]:
        """Return those of these files that there are, and forget the ids of the others."""
        if not ids:
            return []
        owned = [FileKeys(namespace, id) for id in ids]
        found = await self._scripts.call("MGET", *(each.record for each in owned))
        gone = [each.encoded for each, data in zip(owned, found, strict=True) if data is None]
        if gone:
            await self._scripts.call("ZREM", keys.files(namespace), *gone)
        files = [StoredFile(**json.loads(data)) for data in found if data is not None]
        return [file for file in files if not file.deleted]

    async def remove(self, namespace: str, file: StoredFile) -> None:
        """Mark a file that has no object as deleted."""
        await self._write(FileKeys(namespace, file.id), replace(file, deleted=True), "XX")

    async def forget(self, namespace: str, id: str) -> None:
        """Remove the record of a file whose object is deleted. Idempotent."""
        owned = FileKeys(namespace, id)
        await self._scripts.call("DEL", owned.record)
        await self._scripts.call("ZREM", owned.index, owned.encoded)
        await self._scripts.call("ZREM", keys.EXPIRING_FILES, owned.name)

    async def expired(self, count: int = 100) -> list[tuple[str, str]]:
        """List (namespace, id) of files that have expired and whose objects may be there yet."""
        names = await self._scripts.call(
            "ZRANGEBYSCORE", keys.EXPIRING_FILES, "-inf", await self.now(), "LIMIT", 0, count
        )
        found = (FileKeys.parse(name.decode()) for name in names)
        return [(file.namespace, file.id) for file in found]

    async def _write(self, owned: FileKeys, file: StoredFile, *condition: str) -> bool:
        arguments: list[str | int] = ["SET", owned.record, json.dumps(asdict(file)), *condition]
        if file.expires is not None:
            arguments += ["PXAT", int(file.expires * 1000)]
        return await self._scripts.call(*arguments) is not None

    async def _read(self, owned: FileKeys) -> StoredFile | None:
        data = await self._scripts.call("GET", owned.record)
        return None if data is None else StoredFile(**json.loads(data))
