"""``manifest.jsonl``: the results of a batch, and so what need not be spoken again.

One line for each end of an item, appended and synced before the fleet forgets the item. Of
several lines of one id the last counts. A line that a crash cut short is removed at the next
opening.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from speechfleet.corpus.disk_index import DiskIndex, IndexEntry
from speechfleet.corpus.item import REQUEST_FIELDS
from speechfleet.errors import InvalidRequest
from speechfleet.ledger import Result
from speechfleet.lifecycle import State
from speechfleet.request import Request

NAME = "manifest.jsonl"
BLOCK_BYTES = 65_536
Entry = dict[str, Any]


def entry_of(result: Result, request: Request, place: Mapping[str, Any]) -> Entry:
    """Make the entry of an item.

    ``place``: its ``path`` or ``object``, and its ``suspect`` segments, if any.
    """
    optional = {
        "format": request.format,
        "options": dict(request.options),
        "segments": request.segments,
        "spoken_by": list(result.spoken_by) or None,
        "fallbacks": [turn.as_view() for turn in result.turns] or None,
        "cache": None if request.cache else False,
    }
    entry: Entry = {
        "id": result.item,
        "text": request.text,
        "state": str(result.state),
        **place,
        "duration": result.duration,
        "bytes": result.bytes,
        "sample_rate": result.sample_rate,
        "media_type": result.media_type,
        "model": request.model,
        "voice": result.voice or request.voice,
        **{name: value for name, value in optional.items() if value not in (None, {})},
        "characters": len(request.text),
        "billed": result.usage.get("billed", 0),
        "cached": result.usage.get("cached", 0),
        "attempts": result.attempts,
        "digest": request.digest,
    }
    if result.state is not State.SUCCEEDED:
        entry["error"] = {"code": result.code, "message": result.message}
    return entry


def as_corpus(entry: Entry) -> Entry:
    """Turn an entry into a line of a corpus, to be spoken again."""
    fields = ("id", "text", *REQUEST_FIELDS, "options", "error")
    return {name: entry[name] for name in fields if entry.get(name) not in (None, "")}


def as_lines(entries: Iterable[Entry]) -> bytes:
    """Encode entries, one line each."""
    return b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in entries)


@contextlib.contextmanager
def named(path: Path | None) -> Iterator[None]:
    """Name the file that could not be written in an OSError, not the one that was read."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


class Manifest:
    """Keep entries by id in the file ``path``; with None only their states, in no file.

    A context manager; `close` ends it.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises InvalidRequest where the file is no manifest, OSError."""
        self._path = path
        self._file: BinaryIO | None = None
        self._index = DiskIndex()
        self._end = 0
        if path is not None:
            try:
                with named(path):
                    self._file = _open_to_append(path)
                for offset, entry in self._entries():
                    self._mark(entry, offset)
            except BaseException:
                self.close()
                raise
            self._end = path.stat().st_size

    def get(self, id: str) -> IndexEntry | None:
        """Return digest, state and offset of the id's last entry; None where there is none."""
        return self._index.get(id)

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries; they are durable when it returns.

        Raises OSError, and then what is in the file stays readable.
        """
        lines = [(entry, as_lines([entry])) for entry in entries]
        if self._file is not None and lines:
            with named(self._path):
                self._file.write(b"".join(line for _, line in lines))
                self._file.flush()
                os.fsync(self._file.fileno())
        for entry, line in lines:
            self._mark(entry, self._end)
            self._end += len(line)

    def entries(self) -> Iterator[Entry]:
        """Yield the last entry of each id, in the order in which they ended."""
        for offset, entry in self._entries():
            mark = self._index.get(entry["id"])
            if mark is not None and mark.number == offset:
                yield entry

    def history(self) -> Iterator[Entry]:
        """Yield every end of every item once, although a crash may have written it twice."""
        with DiskIndex() as known:
            for offset, entry in self._entries():
                end = f"{entry['id']}\n{entry.get('object') or offset}"
                if known.get(end) is None:
                    known.put(end, IndexEntry("", "", offset))
                    yield entry

    def close(self) -> None:
        """Close file and index. Idempotent."""
        self._index.close()
        if self._file is not None:
            with contextlib.suppress(OSError):  # `append` has raised it already
                self._file.close()

    def _mark(self, entry: Entry, offset: int) -> None:
        self._index.put(entry["id"], IndexEntry(entry["digest"], entry["state"], offset))

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        if self._path is None:
            return
        offset = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # The disk was full there.
                try:
                    entry = json.loads(line)
                    _ = entry["id"], entry["digest"], entry["state"]
                except (ValueError, KeyError, TypeError):
                    raise InvalidRequest(
                        f"{self._path}:{number} is no entry of a manifest: correct the line, or "
                        "remove it (its item is then looked for in the cache)"
                    ) from None
                yield offset, entry
                offset += len(line)


def _open_to_append(path: Path) -> BinaryIO:
    """Open a file for appending, and remove what stands behind its last whole line."""
    file = path.open("ab+")
    size = file.seek(0, os.SEEK_END)
    start = max(0, size)
    while start > 0:
        step = min(start, BLOCK_BYTES)
        file.seek(start - step)
        newline = file.read(step).rfind(b"\n")
        if newline >= 0:
            start = start - step + newline + 1
            break
        start -= step
    if start < size:
        file.truncate(start)
    file.seek(0, os.SEEK_END)
    return file
