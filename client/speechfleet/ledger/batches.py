"""Batches: many jobs under one name, counted by the fleet and read back in the order they end."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from speechfleet import keys
from speechfleet.errors import BatchNotFound, BatchStopped
from speechfleet.jobs import State, in_seconds
from speechfleet.keys import BatchKeys, JobKeys
from speechfleet.ledger.connection import Connection, errors

STEP = 200
"""Jobs that one step of a cancellation or a retry takes up."""
LONGEST_WAIT = 5.0
"""Seconds that one command may wait in the server."""
_ABOUT = "about."
_USAGE = "usage."


class WindowFull(Exception):
    """As many items are under way as the batch's window lets: read and fold results first."""


class BatchState(StrEnum):
    OPEN = "open"
    """Takes items and speaks them."""
    STOPPED = "stopped"
    """By an error that every further item would meet: a key refused, no credit left."""
    CANCELLED = "cancelled"
    """Somebody asked for it."""
    ENDED = "ended"
    """Whoever fed it has read back how each item ended."""


@dataclass(frozen=True)
class BatchStatus:
    """A batch as the fleet counts it. Times are the server's, in Unix seconds.

    ``outstanding``: queued or running; ``unread``: ended, and not folded yet; ``cached``: spoken
    without a provider; ``about``: what whoever opened it noted; ``usage`` as a job's.
    """

    id: str
    state: BatchState
    code: str
    message: str
    created: float
    updated: float
    window: int
    about: Mapping[str, str]
    submitted: int
    outstanding: int
    unread: int
    succeeded: int
    failed: int
    cancelled: int
    cached: int
    usage: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """How an item ended. ``entry``: its place in the batch's results; ``duration`` in seconds;
    ``bytes`` of the object; ``item``: the job's id without the batch's, see `item_id`.
    """

    entry: str
    job_id: str
    item: str
    epoch: int
    state: State
    object: str
    media_type: str
    bytes: int
    duration: float
    sample_rate: int
    model: str
    voice: str
    attempts: int
    code: str
    message: str
    usage: Mapping[str, float]

    @property
    def withdrawn(self) -> bool:
        """Not spoken and not at fault: it can be submitted again."""
        return self.state is State.CANCELLED

    @classmethod
    def decode(
        cls, batch: str, entry: builtins.bytes, raw: Mapping[builtins.bytes, builtins.bytes]
    ) -> Result:
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        get = fields.get
        state = State(fields["state"])
        job_id = JobKeys.parse(fields["name"]).id
        return cls(
            entry=entry.decode(),
            job_id=job_id,
            item=job_id.removeprefix(f"{batch}/"),
            epoch=int(fields["epoch"]),
            state=state,
            object=get("object", ""),
            media_type=get("media_type", ""),
            bytes=int(get("bytes", 0)),
            duration=int(get("duration_ms", 0)) / 1000,
            sample_rate=int(get("rate", 0)),
            model=get("model", ""),
            voice=get("voice", ""),
            attempts=int(get("attempts", 0)),
            # A success may have a failed attempt behind it.
            code="" if state is State.SUCCEEDED else get("code", ""),
            message="" if state is State.SUCCEEDED else get("message", ""),
            usage=_sums(fields),
        )


def item_id(batch: str, item: str) -> str:
    """The id of an item's job: corpora may number their items alike."""
    return f"{batch}/{item}"


class Batches:
    """Batches by (namespace, id). Every change is one script, or one script an item."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts

    async def open(
        self, namespace: str, id: str, *, window: int, about: Mapping[str, str] | None = None
    ) -> None:
        """Make the batch, or let one that was stopped, cancelled or ended go on. Idempotent.

        ``window``: items that may be under way at once; ``about``: whatever is of use later.
        """
        notes = [part for key, value in (about or {}).items() for part in (_ABOUT + key, value)]
        await self._become(namespace, id, BatchState.OPEN, "window", str(window), *notes)

    async def get(self, namespace: str, id: str) -> BatchStatus:
        """Raises BatchNotFound."""
        batch = BatchKeys(namespace, id)
        raw, outstanding, unread = await asyncio.gather(
            self._scripts.call("HGETALL", batch.batch),
            self._scripts.call("SCARD", batch.items),
            self._scripts.call("XLEN", batch.results),
        )
        if b"created" not in raw:
            raise BatchNotFound(f"no batch {id!r} in namespace {namespace!r}")
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        get = fields.get
        return BatchStatus(
            id=id,
            state=BatchState(fields["state"]),
            code=get("code", ""),
            message=get("message", ""),
            created=int(fields["created"]) / 1000,
            updated=int(fields["updated"]) / 1000,
            window=int(get("window", 0)),
            about={k.removeprefix(_ABOUT): v for k, v in fields.items() if k.startswith(_ABOUT)},
            submitted=int(get("submitted", 0)),
            outstanding=int(outstanding),
            unread=int(unread),
            succeeded=int(get(State.SUCCEEDED, 0)),
            failed=int(get(State.FAILED, 0)),
            cancelled=int(get(State.CANCELLED, 0)),
            cached=int(get("cached", 0)),
            usage=_sums(fields),
        )

    # --- results ----------------------------------------------------------------------------

    async def results(
        self, namespace: str, id: str, after: str = "0", count: int = 500, wait: float = 1.0
    ) -> list[Result]:
        """At most ``count`` items as they ended, oldest first, behind the entry ``after``.

        Waits up to ``wait`` seconds (at most 5) for the first. What was read is read again from
        the start until it is folded. An item that was retried has a result for each epoch.
        """
        key = BatchKeys(namespace, id).results
        found = await self._scripts.call("XRANGE", key, f"({after}", "+", "COUNT", count)
        if not found and wait > 0:
            block = max(1, int(min(wait, LONGEST_WAIT) * 1000))
            with errors():
                reply: Any = await self._connection.redis.xread({key: after}, count, block)
            found = reply[0][1] if reply else []
        return [Result.decode(id, entry, raw) for entry, raw in found if raw]

    async def fold(self, namespace: str, id: str, results: Iterable[Result]) -> None:
        """Forget results that are written down elsewhere, and the records of their jobs.

        Records of failed jobs stay, for `retry_failed`. Idempotent.
        """
        batch = BatchKeys(namespace, id)
        await asyncio.gather(*(self._fold(batch, result) for result in results))

    async def _fold(self, batch: BatchKeys, result: Result) -> None:
        job = JobKeys(batch.namespace, result.job_id)
        about = (batch.encoded, result.entry, result.epoch)
        await self._scripts.run("fold", (job.record,), job.name, *about)

    # --- stopping and going on --------------------------------------------------------------

    async def stop(self, namespace: str, id: str, code: str, message: str) -> None:
        """Nothing further is begun; queued items come back withdrawn when their turn comes."""
        await self._close(namespace, id, BatchState.STOPPED, code, message)

    async def cancel(self, namespace: str, id: str, reason: str) -> int:
        """Cancel what is queued or running; how many. Raises BatchNotFound."""
        await self._close(namespace, id, BatchState.CANCELLED, "cancelled", reason)
        batch, cancelled = BatchKeys(namespace, id), 0
        while names := await self._scripts.call("SRANDMEMBER", batch.items, STEP):
            replies = await asyncio.gather(*(self._one("cancel", n, reason) for n in names))
            cancelled += sum(reply != [] and reply[1] == b"1" for reply in replies)
            await self._forget(batch.items, names, replies)
        return cancelled

    async def withdraw(self, namespace: str, id: str) -> int:
        """Take back what waits, at once; how many. For a batch that is stopped: its items may
        wait for a budget that nobody fills. What runs goes on.
        """
        items, cursor = BatchKeys(namespace, id).items, b"0"
        withdrawn: int = 0
        while True:
            cursor, names = await self._scripts.call("SSCAN", items, cursor, "COUNT", STEP)
            how = ("its batch is stopped", "", "1")
            replies = await asyncio.gather(*(self._one("cancel", name, *how) for name in names))
            withdrawn += len([reply for reply in replies if reply and reply[1] == b"1"])
            if int(cursor) == 0:
                return withdrawn

    async def retry_failed(self, namespace: str, id: str) -> int:
        """Items that failed begin a new epoch; how many. Opens the batch."""
        await self._become(namespace, id, BatchState.OPEN)
        batch, retried = BatchKeys(namespace, id), 0
        while names := await self._scripts.call("SRANDMEMBER", batch.failures, STEP):
            replies = await asyncio.gather(*(self._one("retry", name) for name in names))
            retried += sum(reply != [] and reply[2] == b"1" for reply in replies)
            await self._forget(batch.failures, names, replies)
        return retried

    async def end(self, namespace: str, id: str) -> None:
        """All is read back: what the fleet knows of it begins to expire."""
        ttl = int(self._connection.settings.record_ttl * 1000)
        await self._become(namespace, id, BatchState.ENDED, ttl=str(ttl))

    async def delete(self, namespace: str, id: str) -> None:
        """Forget the batch; its jobs and what they made stay. Idempotent."""
        batch = BatchKeys(namespace, id)
        await self._scripts.call("ZREM", keys.batches(namespace), batch.encoded)
        await self._scripts.call("SREM", keys.FEEDS, batch.name)
        owned = (batch.batch, batch.items, batch.failures, batch.results, batch.feed, batch.parts)
        await self._scripts.call("UNLINK", *owned)

    async def list(self, namespace: str) -> list[BatchStatus]:
        """Newest first; those that have expired are forgotten."""
        index, found = keys.batches(namespace), []
        for name in await self._scripts.call("ZREVRANGE", index, 0, -1):
            try:
                found.append(await self.get(namespace, unquote(name.decode())))
            except BatchNotFound:
                await self._scripts.call("ZREM", index, name)
        return found

    async def _close(
        self, namespace: str, id: str, state: BatchState, code: str, message: str
    ) -> None:
        await self.get(namespace, id)
        await self._become(namespace, id, state, "code", code, "message", message)

    async def _become(
        self, namespace: str, id: str, state: BatchState, *fields: str, ttl: str = ""
    ) -> None:
        batch = BatchKeys(namespace, id)
        owned = (batch.batch, keys.batches(namespace), batch.items, batch.failures, batch.results)
        feed = (batch.feed, batch.parts, keys.FEEDS)
        await self._scripts.run("batch", (*owned, *feed), batch.name, state, ttl, *fields)

    async def _one(self, script: str, name: bytes, *arguments: str) -> Any:
        job = JobKeys.parse(name.decode())
        return await self._scripts.run(script, (job.record,), job.name, *arguments)

    async def _forget(self, members: str, names: Iterable[bytes], replies: Iterable[Any]) -> None:
        """Jobs that are in a set of the batch and moved on, or are gone (expired, deleted)."""
        gone = [name for name, reply in zip(names, replies, strict=True) if _idle(reply)]
        if gone:
            await self._scripts.call("SREM", members, *gone)


def _idle(reply: Any) -> bool:
    """Whether a script found nothing to do."""
    return not reply or reply[-1] == b"0"


def _sums(fields: Mapping[str, str]) -> dict[str, float]:
    return in_seconds(
        {k.removeprefix(_USAGE): int(v) for k, v in fields.items() if k.startswith(_USAGE)}
    )


def batch_stopped(id: str, code: str, message: str) -> BatchStopped:
    """The error of a submit to a batch that is not open."""
    why = f": {message}" if message else ""
    return BatchStopped(f"batch {id!r} takes no items now{why}", code=code or None)
