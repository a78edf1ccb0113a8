"""``manifest.jsonl``: how each item of a batch ended; the truth about what need not be spoken.

An entry a line, appended and synced before the fleet forgets the item. Of several entries of
one id the last counts. A line that a crash cut short is taken away at the next opening.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from speechfleet.corpus.item import REQUEST_FIELDS
from speechfleet.corpus.seen import Mark, Seen
from speechfleet.errors import InvalidRequest
from speechfleet.jobs import Request, State
from speechfleet.ledger import Result

NAME = "manifest.jsonl"
Entry = dict[str, Any]


def entry_of(result: Result, request: Request, place: Mapping[str, str]) -> Entry:
    """What the manifest says of an item. ``place``: ``path`` or ``object``."""
    wishes = {
        "format": request.format,
        "options": dict(request.options),
        "segments": request.segments,
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
        **{name: value for name, value in wishes.items() if value not in (None, {})},
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
    """An entry as a line of a corpus, to be spoken again."""
    kept = ("id", "text", *REQUEST_FIELDS, "options", "error")
    return {name: entry[name] for name in kept if entry.get(name) not in (None, "")}


@contextlib.contextmanager
def named(path: Path | None) -> Iterator[None]:
    """A full disk is told with the file that could not be written, not that which was read."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


class Manifest:
    """Entries by id, in the file ``path``; None keeps only what is needed of them, in no file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen = Seen()
        self._file = None if path is None else _open(path)
        self._end = 0
        if path is not None:
            try:
                for offset, entry in self._entries():
                    self._mark(entry, offset)
            except BaseException:
                self.close()
                raise
            self._end = path.stat().st_size

    def get(self, id: str) -> Mark | None:
        """Digest and state of the id's last entry, and the size of its audio."""
        return self._seen.get(id)

    def counts(self) -> dict[str, int]:
        return self._seen.counts()

    def append(self, entries: Iterable[Entry]) -> None:
        """Durable when it returns. Raises OSError, and then what is in the file stays readable."""
        lines = [
            (entry, json.dumps(entry, ensure_ascii=False).encode() + b"\n") for entry in entries
        ]
        if self._file is not None and lines:
            with named(self._path):
                self._file.write(b"".join(line for _, line in lines))
                self._file.flush()
                os.fsync(self._file.fileno())
        for entry, line in lines:
            self._mark(entry, self._end)
            self._end += len(line)

    def entries(self) -> Iterator[Entry]:
        """The last entry of each id, in the order in which they ended."""
        for offset, entry in self._entries():
            mark = self._seen.get(entry["id"])
            if mark is not None and mark.number == offset:
                yield entry

    def history(self) -> Iterator[Entry]:
        """Every end of every item, once: one that a crash had written twice, too."""
        with contextlib.closing(Seen()) as seen:
            for offset, entry in self._entries():
                name = f"{entry['id']}\n{entry.get('object') or offset}"
                if seen.get(name) is None:
                    seen.put(name, Mark("", "", offset))
                    yield entry

    def close(self) -> None:
        self._seen.close()
        if self._file is not None:
            with contextlib.suppress(OSError):  # `append` has told it
                self._file.close()

    def _mark(self, entry: Entry, offset: int) -> None:
        self._seen.put(entry["id"], Mark(entry["digest"], entry["state"], offset))

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
                        f"{self._path}:{number} is no entry of a manifest: mend the line, or take "
                        "it away (its item is then looked for in the cache)"
                    ) from None
                yield offset, entry
                offset += len(line)


def _open(path: Path) -> Any:
    """For appending, behind the last whole line."""
    file = path.open("ab+")
    size = file.seek(0, os.SEEK_END)
    start = max(0, size)
    while start > 0:
        step = min(start, 65_536)
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
