"""A set of (id, digest) that lies on disk: memory stays flat however long the corpus is."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import NamedTuple

from speechfleet.corpus.item import Item

CACHE_KB = 8_000


class Mark(NamedTuple):
    """What is kept of an id: a digest, a state, a number (an offset in a file, say)."""

    digest: str
    state: str
    number: int


class Seen:
    """Ids and a `Mark` each, in a temporary database that ends with it. One thread at a time."""

    def __init__(self) -> None:
        # "" is SQLite's private temporary database: on disk, once it outgrows its cache.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE seen (id BLOB PRIMARY KEY, digest TEXT, state TEXT, number INTEGER)"
            " WITHOUT ROWID"
        )
        self._database.execute("BEGIN")

    def get(self, id: str) -> Mark | None:
        found = self._database.execute(
            "SELECT digest, state, number FROM seen WHERE id = ?", (_key(id),)
        ).fetchone()
        return Mark(*found) if found else None

    def put(self, id: str, mark: Mark) -> None:
        """The last one counts."""
        self._database.execute(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (_key(id), *mark)
        )

    def counts(self) -> dict[str, int]:
        """How many ids are in each state."""
        return dict(self._database.execute("SELECT state, COUNT(*) FROM seen GROUP BY state"))

    def close(self) -> None:
        """Idempotent."""
        self._database.close()


class Names(Seen):
    """Which file names there were. ``wanted`` False: none is asked for, so none is taken."""

    def __init__(self, *, wanted: bool = True) -> None:
        super().__init__()
        self._wanted = wanted

    def take(self, item: Item) -> str:
        """The id that has its name already on some disks; "" where it is free."""
        if not self._wanted:
            return ""
        before = self.get(item.disk_name)
        if before is None:
            self.put(item.disk_name, Mark(item.id, "", 0))
        return "" if before is None or before.digest == item.id else before.digest


def _key(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
