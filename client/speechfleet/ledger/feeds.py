"""Batches that the fleet itself feeds: one worker at a time, as long as its heart beats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from speechfleet import keys
from speechfleet.keys import BatchKeys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.scripts import Scripts


class FeedLost(Exception):
    """Somebody else feeds the batch now, or from another corpus: leave it alone."""


@dataclass(frozen=True)
class Feed:
    """``object``: the corpus in the store, of ``size`` bytes; ``offset``: bytes whose items were
    all accepted; ``terms``: what its feeder has to know of the order; ``boot``: who feeds it,
    "" for nobody.
    """

    namespace: str
    id: str
    object: str
    size: int
    offset: int
    terms: Mapping[str, Any]
    boot: str


class Feeds:
    """Feeds by (namespace, batch). Every change is one script."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def open(
        self, namespace: str, id: str, *, object: str, size: int, terms: Mapping[str, Any]
    ) -> bool:
        """Have the fleet feed this corpus from its first line; False: it does so already.

        What stands in the batch's manifest is kept, so nothing is spoken twice.
        """
        batch = BatchKeys(namespace, id)
        told = (batch.name, object, size, json.dumps(terms, sort_keys=True))
        return bool(await self._scripts.run("feed_open", (batch.feed, keys.FEEDS), *told))

    async def find(self, namespace: str, id: str) -> Feed | None:
        """None: whoever opened the batch feeds it."""
        raw = await self._scripts.call("HGETALL", BatchKeys(namespace, id).feed)
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        if "object" not in fields:
            return None
        return Feed(
            namespace,
            id,
            fields["object"],
            int(fields["size"]),
            int(fields["offset"]),
            json.loads(fields["terms"]),
            fields.get("boot", ""),
        )

    async def parts(self, namespace: str, id: str) -> list[str]:
        """The objects that the manifest consists of, in the order in which they were written."""
        found = await self._scripts.call("LRANGE", BatchKeys(namespace, id).parts, 0, -1)
        return [part.decode() for part in found]

    async def unfinished(self) -> list[tuple[str, str]]:
        """(namespace, batch) of all that has still to be fed, or to be read back."""
        names = await self._scripts.call("SMEMBERS", keys.FEEDS)
        found = (BatchKeys.parse(name.decode()) for name in sorted(names))
        return [(batch.namespace, batch.id) for batch in found]

    async def take(self, namespace: str, id: str, boot: str, token: str) -> Feeding | None:
        """The feed, unless a living worker has it. A token is good for one taking."""
        batch = BatchKeys(namespace, id)
        owned = (batch.feed, keys.FEEDS, keys.BEATS)
        if not await self._scripts.run("feed_take", owned, batch.name, boot, token):
            return None
        feed = await self.find(namespace, id)
        return Feeding(self._scripts, batch, feed, token) if feed is not None else None


class Feeding:
    """A feed in the hands of one worker, fenced by its token."""

    def __init__(self, scripts: Scripts, batch: BatchKeys, feed: Feed, token: str) -> None:
        self._scripts = scripts
        self._batch = batch
        self.feed = feed
        self.token = token

    async def move(self, offset: int) -> None:
        """All items before this byte were accepted. Raises FeedLost."""
        await self._move(str(offset), "")

    async def add_part(self, object: str) -> None:
        """This object, already in the store, belongs to the manifest. Raises FeedLost."""
        await self._move("", object)

    async def leave(self) -> bool:
        """Give it back: for good, unless the batch is open; False where it was lost before."""
        owned = (self._batch.feed, keys.FEEDS, self._batch.batch)
        return bool(await self._scripts.run("feed_leave", owned, self._batch.name, self.token))

    async def _move(self, offset: str, part: str) -> None:
        owned = (self._batch.feed, self._batch.parts)
        if not await self._scripts.run("feed_move", owned, self.token, offset, part):
            raise FeedLost(f"{self._batch.name} is fed by somebody else")
