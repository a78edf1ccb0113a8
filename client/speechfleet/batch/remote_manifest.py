"""The manifest of a batch that the fleet feeds: numbered parts in the store.

Anybody who can write to the store can write entries, so each is checked before it is used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from speechfleet.audio.formats import FORMATS
from speechfleet.batch.manifest import Entry
from speechfleet.captions import FORMS
from speechfleet.corpus.item import Item, visible
from speechfleet.errors import InvalidRequest, SpeechFleetError, UnknownFormat
from speechfleet.ledger import Feeds
from speechfleet.lifecycle import State
from speechfleet.store import Store
from speechfleet.store.base import check_key

MAX_CONCURRENT_READS = 16
_TEXTS = ("id", "text", "state", "digest")


class RemoteManifest:
    """Read the entries of one batch. ``refused``: lines that are no entries, so far."""

    def __init__(self, feeds: Feeds, store: Store, namespace: str, id: str) -> None:
        self._feeds = feeds
        self._store = store
        self._namespace = namespace
        self._id = id
        self.refused: list[str] = []

    async def entries(self) -> AsyncGenerator[list[Entry], None]:
        """Yield the entries as they were written, one part at a time; of one id the last counts.

        A line that is no entry, or names what no fleet writes, is left out and `refused`.
        """
        parts = await self._feeds.parts(self._namespace, self._id)
        for first in range(0, len(parts), MAX_CONCURRENT_READS):
            group = parts[first : first + MAX_CONCURRENT_READS]
            contents = await asyncio.gather(*(self._store.get(part) for part in group))
            for part, content in zip(group, contents, strict=True):
                yield list(self._checked(part, content))

    def _checked(self, part: str, content: bytes) -> Iterator[Entry]:
        for number, line in enumerate(content.split(b"\n"), 1):
            if not line:
                continue
            try:
                yield check_entry(json.loads(line))
            except SpeechFleetError as error:
                self.refused.append(visible(f"{part}:{number}: {error.message}"))
            except (ValueError, RecursionError):
                self.refused.append(f"{part}:{number}: this is no JSON")


def check_entry(entry: Any) -> Entry:
    """Return an entry whose id, format and object are what a fleet writes.

    Raises InvalidRequest for any other: a path made of it could leave its folder.
    """
    if not isinstance(entry, dict) or not all(isinstance(entry.get(n), str) for n in _TEXTS):
        raise InvalidRequest(f"an entry has {', '.join(_TEXTS)}, all of them texts")
    if entry["state"] not in list(State):
        raise InvalidRequest(f"no item is in state {entry['state'][:40]!r}")
    Item(entry["id"], entry["text"]).check_id()
    format = entry.get("format", "wav")
    if not isinstance(format, str) or format not in FORMATS:
        raise UnknownFormat(str(format)[:40], FORMATS)
    for name in ("object", "captions"):
        if name in entry:
            if not isinstance(entry[name], str):
                raise InvalidRequest(f"its {name} is no key")
            check_key(entry[name])
    if "captions" in entry and entry["captions"].rpartition(".")[2] not in FORMS:
        raise InvalidRequest("its captions are of no known form")
    return entry
