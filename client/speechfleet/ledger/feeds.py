"""Feeds: batches whose items the fleet itself submits, one live worker at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from speechfleet.ledger.batch_keys import FEEDS, BatchKeys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.keys import HEARTBEATS
from speechfleet.ledger.scripts import Scripts


class FeedLost(Exception):
    """Another worker feeds the batch now, or it has another corpus: do nothing more with it."""


@dataclass(frozen=True)
class Feed:
    """A batch that the fleet feeds.

    ``object``: its corpus in the store, of ``size`` bytes; ``offset``: bytes whose items were all
    accepted; ``terms``: spending limits and prices of the order; ``boot``: the worker that feeds
    it, "" for none.
    """

    namespace: str
    id: str
    object: str
    size: int
    offset: int
    terms: Mapping[str, Any]
    boot: str


class Feeds:
    """The feeds of all namespaces. Every change is one script."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def open(
        self, namespace: str, id: str, *, object: str, size: int, terms: Mapping[str, Any]
    ) -> bool:
        """Let the fleet feed this corpus from its first line; False where it does so already.

        The batch's manifest is kept, so nothing is synthesized twice.
        """
        batch = BatchKeys(namespace, id)
        arguments = (batch.name, object, size, json.dumps(terms, sort_keys=True))
        return bool(await self._scripts.run("feed_open", (batch.feed, FEEDS), *arguments))

    async def find(self, namespace: str, id: str) -> Feed | None:
        """Read a feed; None where the client that opened the batch feeds it itself."""
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
        """List the objects of the manifest, in the order in which they were written."""
        found = await self._scripts.call("LRANGE", BatchKeys(namespace, id).parts, 0, -1)
        return [part.decode() for part in found]

    async def unfinished(self) -> list[tuple[str, str]]:
        """List (namespace, batch) of all that have items to submit, or results to acknowledge."""
        names = await self._scripts.call("SMEMBERS", FEEDS)
        found = (BatchKeys.parse(name.decode()) for name in sorted(names))
        return [(batch.namespace, batch.id) for batch in found]

    async def take(self, namespace: str, id: str, boot: str, token: str) -> Feeding | None:
        """Take the feed, unless a living worker has it. A token is good for one time."""
        batch = BatchKeys(namespace, id)
        owned = (batch.feed, FEEDS, HEARTBEATS)
        if not await self._scripts.run("feed_take", owned, batch.name, boot, token):
            return None
        feed = await self.find(namespace, id)
        return Feeding(self._scripts, batch, feed, token) if feed is not None else None


class Feeding:
    """A feed that one worker holds, fenced by its token."""

    def __init__(self, scripts: Scripts, batch: BatchKeys, feed: Feed, token: str) -> None:
        self._scripts = scripts
        self._batch = batch
        self.feed = feed
        self.token = token

    async def move(self, offset: int) -> None:
        """Record that all items before this byte were accepted. Raises FeedLost."""
        await self._move(str(offset), "")

    async def add_part(self, object: str) -> None:
        """Add an object, already in the store, to the manifest. Raises FeedLost."""
        await self._move("", object)

    async def leave(self) -> bool:
        """Give the feed back, for good unless the batch is open; False where it was lost."""
        owned = (self._batch.feed, FEEDS, self._batch.batch)
        return bool(await self._scripts.run("feed_leave", owned, self._batch.name, self.token))

    async def _move(self, offset: str, part: str) -> None:
        owned = (self._batch.feed, self._batch.parts)
        if not await self._scripts.run("feed_move", owned, self.token, offset, part):
            raise FeedLost(f"{self._batch.name} is fed by another worker now")
