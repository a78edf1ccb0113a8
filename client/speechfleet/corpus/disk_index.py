"""Ids and what is known of each, on disk: memory stays flat however long a corpus is."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from types import TracebackType
from typing import NamedTuple, Self

from speechfleet.corpus.item import Item

CACHE_KB = 8_000


class IndexEntry(NamedTuple):
    """Hold what an index knows of an id: a digest, a state, and a number (an offset, say)."""

    digest: str
    state: str
    number: int


class DiskIndex:
    """Map ids to an `IndexEntry` each, in a temporary database. Thread-safe.

    A context manager; `close` ends it and the database.
    """

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
        self._is_empty = True
        # A thread may still read items when its run is cancelled and closes the index.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def get(self, id: str) -> IndexEntry | None:
        if self._is_empty:  # as the manifest of a new corpus is, and it is asked for every item
            return None
        with self._lock:
            row = self._database.execute(
                "SELECT digest, state, number FROM seen WHERE id = ?", (_key(id),)
            ).fetchone()
        return IndexEntry(*row) if row else None

    def add(self, id: str, mark: IndexEntry) -> IndexEntry | None:
        """Keep what is known of an id, unless something is; return what was known before."""
        with self._lock:
            self._is_empty = False
            added = self._database.execute(
                "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?)", (_key(id), *mark)
            )
        return None if added.rowcount else self.get(id)

    def put(self, id: str, mark: IndexEntry) -> None:
        """Keep what is known of an id, in place of what was."""
        with self._lock:
            self._is_empty = False
            self._database.execute(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (_key(id), *mark)
            )

    def counts(self) -> dict[str, int]:
        """Count the ids by state."""
        return dict(self._database.execute("SELECT state, COUNT(*) FROM seen GROUP BY state"))

    def close(self) -> None:
        """Drop the database. Idempotent."""
        with self._lock:
            self._is_empty = False  # it is no longer known to be: whoever asks gets an error
            self._database.close()


class FileNameIndex(DiskIndex):
    """Know the file names that items took. With ``wanted`` False no item needs one."""

    def __init__(self, *, wanted: bool = True) -> None:
        super().__init__()
        self._wanted = wanted

    def take(self, item: Item) -> str:
        """Take the item's file name; return the id that has it already, or ""."""
        if not self._wanted:
            return ""
        before = self.add(item.disk_name, IndexEntry(item.id, "", 0))
        return "" if before is None or before.digest == item.id else before.digest


def _key(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
