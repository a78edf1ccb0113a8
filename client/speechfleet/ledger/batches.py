"""Batches: many jobs under one name, counted by the fleet, with results in order of their end."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from redis.exceptions import ResponseError

from speechfleet.errors import BatchNotFound, BatchStopped
from speechfleet.fallback import Turn, decode_turns
from speechfleet.ledger import batch_keys as keys
from speechfleet.ledger.acceptance import Acceptance
from speechfleet.ledger.batch_keys import BatchKeys
from speechfleet.ledger.batch_status import (
    UNDER_WAY,
    BatchState,
    BatchStatus,
    notes_as_fields,
    sums_of,
)
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.quotas import check_refusal
from speechfleet.ledger.scripts import Scripts
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.lifecycle import State

log = logging.getLogger(__name__)

JOBS_AT_ONCE = 200
"""Jobs that one step of a cancellation or a retry takes up."""
MAX_BLOCK_S = 5.0
"""Seconds that one command may wait in the server."""


class WindowFull(Exception):
    """The batch's window allows no further item: acknowledge results first."""


@dataclass(frozen=True)
class Result:
    """The end of one item.

    ``entry``: its place in the batch's results; ``duration`` in seconds; ``bytes`` of the object;
    ``item``: the job's id without the batch's, see `item_id`; ``spoken_by``, ``turns`` as in
    `Record`.
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
    spoken_by: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()

    @property
    def withdrawn(self) -> bool:
        """Tell whether the item was taken back, not at fault: it can be submitted again."""
        return self.state is State.CANCELLED

    @classmethod
    def decode(
        cls, batch: str, entry: builtins.bytes, raw: Mapping[builtins.bytes, builtins.bytes]
    ) -> Result:
        """Read an entry of a batch's results. Raises ValueError, KeyError."""
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
            usage=sums_of(fields),
            spoken_by=tuple(get("spoken_by", "").splitlines()),
            turns=decode_turns(get("turns", "")),
        )


def item_id(batch: str, item: str) -> str:
    """Build the id of an item's job: two corpora may number their items alike."""
    return f"{batch}/{item}"


class Batches:
    """The batches of all namespaces. Every change is one script, or one script for each item."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts
        self._acceptance = Acceptance(connection.scripts, connection.settings.accept_replicas)

    async def open(
        self,
        namespace: str,
        id: str,
        *,
        window: int,
        about: Mapping[str, str] | None = None,
        is_announced: bool = False,
    ) -> None:
        """Make the batch, or reopen one that was stopped, cancelled or ended. Idempotent.

        ``window``: items that may be under way at once; ``about``: notes that the status shows;
        ``is_announced``: only one that is validating. Raises BatchStopped where it is not.
        """
        fields = ("window", str(window), *notes_as_fields(about or {}))
        expected = UNDER_WAY if is_announced else ()
        become = partial(self.become, namespace, id, BatchState.OPEN, *fields, expected=expected)
        if not await self._acceptance.of(become):
            raise batch_stopped(id, "", "it was cancelled, or has ended")

    async def get(self, namespace: str, id: str) -> BatchStatus:
        """Read the status of a batch. Raises BatchNotFound."""
        batch = BatchKeys(namespace, id)
        raw, outstanding, unread = await asyncio.gather(
            self._scripts.call("HGETALL", batch.batch),
            self._scripts.call("SCARD", batch.items),
            self._scripts.call("XLEN", batch.results),
        )
        if b"created" not in raw:
            raise BatchNotFound(f"no batch {id!r} in namespace {namespace!r}")
        return BatchStatus.decode(id, raw, outstanding, unread)

    # --- results ----------------------------------------------------------------------------

    async def results(
        self, namespace: str, id: str, after: str = "0", count: int = 500, wait: float = 1.0
    ) -> list[Result]:
        """Read at most ``count`` results, oldest first, behind the entry ``after``.

        Waits up to ``wait`` seconds (at most 5) for the first. Results come again from the start
        until they are acknowledged. An item that was retried has a result for each epoch.
        """
        key = BatchKeys(namespace, id).results
        found = await self._scripts.call("XRANGE", key, f"({after}", "+", "COUNT", count)
        if not found and wait > 0:
            block = max(1, int(min(wait, MAX_BLOCK_S) * 1000))
            with self._connection.errors():
                reply: Any = await self._connection.redis.xread({key: after}, count, block)
            found = reply[0][1] if reply else []
        return [r for entry, raw in found if (r := await self._result(key, id, entry, raw))]

    async def _result(
        self, key: str, id: str, entry: bytes, raw: Mapping[bytes, bytes]
    ) -> Result | None:
        """Read one; one that cannot be read is removed, or the batch would never end."""
        if raw:
            with skip_on_error(f"read how an item of batch {id!r} ended"):
                return Result.decode(id, entry, raw)
        await self._scripts.call("XDEL", key, entry)
        return None

    async def acknowledge(self, namespace: str, id: str, results: Iterable[Result]) -> None:
        """Remove results that are written down elsewhere, with the records of their jobs.

        Records of failed jobs stay, for `retry_failed`. Idempotent.
        """
        batch, calls = BatchKeys(namespace, id), []
        for result in results:
            job = JobKeys(namespace, result.job_id)
            calls.append(((job.record,), (job.name, batch.encoded, result.entry, result.epoch)))
        for reply in await self._scripts.run_all("acknowledge", calls):
            if isinstance(reply, Exception):
                raise reply

    # --- stopping and going on --------------------------------------------------------------

    async def stop(self, namespace: str, id: str, code: str, message: str) -> None:
        """Begin no further item; those that are queued come back withdrawn at their turn."""
        await self._close(namespace, id, BatchState.STOPPED, code, message)

    async def cancel(self, namespace: str, id: str, reason: str) -> int:
        """Cancel queued and running items, and return their number. Raises BatchNotFound."""
        await self._close(namespace, id, BatchState.CANCELLED, "cancelled", reason)
        return await self.cancel_items(namespace, id, reason)

    async def cancel_items(self, namespace: str, id: str, reason: str) -> int:
        """Cancel the items of a batch that takes none any more, and return their number."""
        batch, cancelled = BatchKeys(namespace, id), 0
        while names := await self._scripts.call("SRANDMEMBER", batch.items, JOBS_AT_ONCE):
            replies = await asyncio.gather(*(self._run("cancel", n, reason) for n in names))
            cancelled += sum(reply != [] and reply[1] == b"1" for reply in replies)
            await self._forget(batch.items, names, replies)
        return cancelled

    async def withdraw(self, namespace: str, id: str) -> int:
        """Take back the items of a stopped batch that wait, and return their number.

        They may wait for a rate limit that has no room for long. Running items go on.
        """
        items, cursor = BatchKeys(namespace, id).items, b"0"
        withdrawn: int = 0
        while True:
            cursor, names = await self._scripts.call("SSCAN", items, cursor, "COUNT", JOBS_AT_ONCE)
            arguments = ("its batch is stopped", "", "1")
            replies = await asyncio.gather(*(self._run("cancel", n, *arguments) for n in names))
            withdrawn += len([reply for reply in replies if reply and reply[1] == b"1"])
            if int(cursor) == 0:
                return withdrawn

    async def retry_failed(self, namespace: str, id: str) -> int:
        """Begin a new epoch of the items that failed, and return their number.

        Opens the batch, unless its input file is still checked.
        """
        expected = [state for state in BatchState if state is not BatchState.VALIDATING]
        if not await self.become(namespace, id, BatchState.OPEN, expected=expected):
            return 0
        batch, retried = BatchKeys(namespace, id), 0
        while names := await self._scripts.call("SRANDMEMBER", batch.failures, JOBS_AT_ONCE):
            replies = await asyncio.gather(*(self._run("retry", name) for name in names))
            for reply in replies:
                check_refusal(namespace, "the model of an item", reply)
            retried += sum(reply != [] and reply[2] == b"1" for reply in replies)
            await self._forget(batch.failures, names, replies)
        return retried

    async def end(self, namespace: str, id: str) -> None:
        """End a batch whose results are all acknowledged: its keys begin to expire."""
        ttl = int(self._connection.settings.record_ttl * 1000)
        await self.become(namespace, id, BatchState.ENDED, ttl=str(ttl))

    async def delete(self, namespace: str, id: str) -> None:
        """Remove the batch; its jobs and their audio stay. Idempotent."""
        batch = BatchKeys(namespace, id)
        await self._scripts.call("ZREM", keys.batches(namespace), batch.encoded)
        await self._scripts.call("SREM", keys.FEEDS, batch.name)
        await self._scripts.call("SREM", keys.unlisted(namespace), batch.encoded)
        for times in (keys.VALIDATING, keys.WINDOWS):
            await self._scripts.call("ZREM", times, batch.name)
        owned = (batch.batch, batch.items, batch.failures, batch.results, batch.feed, batch.parts)
        await self._scripts.call("UNLINK", *owned)

    async def ids(self, namespace: str) -> builtins.list[str]:
        """List the ids of the batches, newest first; some may have expired."""
        names = await self._scripts.call("ZREVRANGE", keys.batches(namespace), 0, -1)
        return [unquote(name.decode()) for name in names]

    async def list(self, namespace: str) -> list[BatchStatus]:
        """List the batches, newest first, and forget those that have expired."""
        names = await self._scripts.call("ZREVRANGE", keys.batches(namespace), 0, -1)
        found = [await read_listed(self._scripts, self, namespace, name) for name in names]
        return [status for status in found if status is not None]

    async def _close(
        self, namespace: str, id: str, state: BatchState, code: str, message: str
    ) -> None:
        await self.get(namespace, id)
        await self.become(namespace, id, state, "code", code, "message", message)

    async def become(
        self,
        namespace: str,
        id: str,
        state: BatchState,
        *fields: str,
        ttl: str = "",
        expected: Iterable[BatchState] = (),
    ) -> bool:
        """Bring a batch into a state; False where it is in none of those that are expected.

        ``fields``: names and values, in turn; ``ttl``: milliseconds that it has yet, "" for ever.
        """
        batch = BatchKeys(namespace, id)
        owned = (batch.batch, keys.batches(namespace), batch.items, batch.failures, batch.results)
        feed = (batch.feed, batch.parts, keys.FEEDS)
        arguments = (batch.name, state, ttl, " ".join(expected), *fields)
        return bool(await self._scripts.run("batch", (*owned, *feed), *arguments))

    async def _run(self, script: str, name: bytes, *arguments: str) -> Any:
        """Run a script for one job; [] where that cannot be read, as where it is gone."""
        with skip_on_error(f"{script} job {name!r}"):
            job = JobKeys.parse(name.decode())
            return await self._scripts.run(script, (job.record,), job.name, *arguments)
        return []

    async def _forget(self, members: str, names: Iterable[bytes], replies: Iterable[Any]) -> None:
        """Take jobs out of a set of the batch that have moved on, or are gone."""
        gone = [name for name, reply in zip(names, replies, strict=True) if _idle(reply)]
        if gone:
            await self._scripts.call("SREM", members, *gone)


async def read_listed(
    scripts: Scripts, batches: Batches, namespace: str, name: bytes
) -> BatchStatus | None:
    """Read a batch of the list; None for one that cannot be read, or has expired."""
    try:
        return await batches.get(namespace, unquote(name.decode()))
    except BatchNotFound:
        await scripts.call("ZREM", keys.batches(namespace), name)
    except (ValueError, KeyError, ResponseError) as error:
        log.warning("batch %r cannot be read and is left out: %r", name, error)
    return None


def _idle(reply: Any) -> bool:
    """Tell whether a script found nothing to do."""
    return not reply or reply[-1] == b"0"


def batch_stopped(id: str, code: str, message: str) -> BatchStopped:
    """Make the error of a submit to a batch that is not open."""
    why = f": {message}" if message else ""
    return BatchStopped(f"batch {id!r} takes no items now{why}", code=code or None)
