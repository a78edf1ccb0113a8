"""Jobs as clients see them: submit, find, list, cancel, retry, delete."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Literal

from speechfleet.chunks import Entry, decode_known
from speechfleet.errors import (
    Conflict,
    IllegalTransition,
    JobNotFound,
    NewerRecord,
    TextComplete,
    TextDiverged,
)
from speechfleet.ledger import keys
from speechfleet.ledger.acceptance import Acceptance
from speechfleet.ledger.batches import WindowFull, batch_stopped
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.deletions import Leftovers
from speechfleet.ledger.feeds import FeedLost
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.pipeline import Argument
from speechfleet.ledger.quotas import check_refusal
from speechfleet.ledger.scripts import Scripts
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.ledger.suspects import note_suspects
from speechfleet.lifecycle import State
from speechfleet.names import encode
from speechfleet.quotas import NamespaceQuotaExceeded
from speechfleet.record import RECORD_VERSION, Record, StoredSegment, in_seconds
from speechfleet.request import Request
from speechfleet.takes import Takes, encode_takes

SUBMITS_PER_SCRIPT = 16
"""Jobs that one script writes: other commands wait for it, half a millisecond or so."""
Identified = tuple[str, Request]
"""A request and the id of its job."""


@dataclass(frozen=True)
class Submitted:
    """The answer to a submit."""

    new: bool
    """This call made the job; else it was there already, with the same request."""
    state: State
    epoch: int


class Jobs:
    """The jobs of all namespaces. Every method is one script or one command."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts
        self._acceptance = Acceptance(connection.scripts, connection.settings.accept_replicas)

    async def submit(
        self,
        namespace: str,
        id: str,
        request: Request,
        mode: Literal["new", "again", "claimed"] = "new",
    ) -> Submitted:
        """Write record and message, or find the same job. Raises Conflict, NamespaceQuotaExceeded.

        For an item of a batch it also raises WindowFull, and BatchStopped where that is not open.
        The modes ``again`` and ``claimed`` write a record that Redis lost, for a client that waits
        for the job and for its worker; they raise JobNotFound where it was deleted.
        """
        names, arguments = _submission(namespace, [(id, request)], mode)
        write = partial(self._scripts.run, "submit", names, *arguments)
        # Whoever writes a lost record anew looks after the job, and does it again if need be.
        [reply] = await (self._acceptance.of(write) if mode == "new" else write())
        return _submitted(namespace, id, request, reply)

    async def submit_all(self, namespace: str, requests: Sequence[Identified]) -> list[Submitted]:
        """Submit each (id, request), sent together.

        Raises the first error; the jobs that were written stay.
        """
        outcomes = await self._acceptance.of(lambda: self.submit_each(namespace, requests))
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Submitted)]

    async def submit_each(
        self, namespace: str, requests: Sequence[Identified], *, fence: str = ""
    ) -> list[Submitted | Exception]:
        """Submit each, and return its outcome, or the error that `submit` would raise, in order.

        It waits for no replica: who feeds a batch submits again what Redis has lost.
        ``fence``: the token by which a worker feeds the batch. FeedLost is the outcome once
        another worker does, however late the submit arrives.
        """
        bulks = _bulks(requests)
        replies = await self._scripts.run_all(
            "submit", [_submission(namespace, bulk, "new", fence) for bulk in bulks]
        )
        return [
            outcome
            for bulk, reply in zip(bulks, replies, strict=True)
            for outcome in _outcomes(namespace, bulk, reply)
        ]

    async def find(self, namespace: str, id: str) -> Record | None:
        """Read a record; None where there is none. Raises NewerRecord."""
        raw = await self._scripts.call("HGETALL", JobKeys(namespace, id).record)
        return Record.decode(namespace, id, raw) if raw else None

    async def load(self, namespace: str, id: str) -> Record:
        """Read a record. Raises JobNotFound, NewerRecord."""
        record = await self.find(namespace, id)
        if record is None:
            raise JobNotFound(
                f"no job {id!r} in namespace {namespace!r}: never submitted, expired or deleted"
            )
        return record

    async def segments(
        self, namespace: str, id: str, epoch: int, first: int = 0
    ) -> list[StoredSegment]:
        """Read the finished segments, in order, from the index ``first`` on."""
        raw = await self._scripts.call("LRANGE", JobKeys(namespace, id).segments(epoch), first, -1)
        return [StoredSegment.decode(item) for item in raw]

    async def entries(
        self, namespace: str, id: str, epoch: int, after: str = "-", count: int = 64
    ) -> list[tuple[str, Entry | None]]:
        """Read at most ``count`` entries of the stream behind the entry ``after``."""
        start = after if after == "-" else f"({after}"
        raw = await self._scripts.call(
            "XRANGE", JobKeys(namespace, id).stream(epoch), start, "+", "COUNT", count
        )
        return [(entry.decode(), decode_known(fields)) for entry, fields in raw]

    async def push(
        self, namespace: str, id: str, text: str, known: int = 0, *, complete: bool = False
    ) -> State:
        """Extend the text of a session to ``text``, and return the job's state.

        ``known``: code points that the server holds already, which are not sent again.
        Idempotent, in any order. ``complete``: no more text follows. Raises JobNotFound,
        TextDiverged, TextComplete.
        """
        job = JobKeys(namespace, id)
        prefix, tail = text[:known].encode(), text[known:].encode()
        digest = hashlib.sha1(prefix).hexdigest()  # noqa: S324 # what scripts can compute
        arguments = (len(prefix), tail, digest, "1" if complete else "0")
        write = partial(self._scripts.run, "push", (job.record,), job.name, *arguments)
        # More text would bring back what was lost; after the last of it nothing follows.
        reply = await (self._acceptance.of(write) if complete else write())
        if reply == [b"short"]:  # Redis has lost its last second
            return await self.push(namespace, id, text, complete=complete)
        return _pushed(namespace, id, text, reply)

    async def cancel(self, namespace: str, id: str, reason: str, heard: int | None = None) -> bool:
        """Cancel a job; return False where it had ended before. Raises JobNotFound.

        ``heard``: code points of the text that a listener has heard, where that is known.
        """
        job = JobKeys(namespace, id)
        reply = await self._scripts.run(
            "cancel", (job.record,), job.name, reason, "" if heard is None else heard
        )
        if not reply:
            await self.load(namespace, id)
        return bool(reply[1] == b"1")

    async def retry(
        self, namespace: str, id: str, *, takes: Takes | None = None, of_epoch: int | None = None
    ) -> int:
        """Begin a new epoch, and return its number. Raises JobNotFound, IllegalTransition.

        ``takes``: of all segments that are spoken again, chosen in the epoch ``of_epoch``; if
        another one began meanwhile, it is an IllegalTransition.
        """
        job = JobKeys(namespace, id)
        changed = "" if takes is None else encode_takes(takes)
        of = "" if of_epoch is None else str(of_epoch)
        reply = await self._scripts.run("retry", (job.record,), job.name, changed, of)
        if not reply:
            await self.load(namespace, id)
        check_refusal(namespace, "its model", reply)
        state, epoch, done = reply
        if done != b"1" and of and epoch.decode() != of:
            raise IllegalTransition(
                f"job {id!r} was begun again meanwhile, by somebody else: look at it first"
            )
        if done != b"1":
            raise IllegalTransition(
                f"job {id!r} is {state.decode()}: only one that has ended can be retried"
            )
        return int(epoch)

    async def note_suspects(self, record: Record, indices: Sequence[int]) -> None:
        """Write down which segments of this epoch probably lack text."""
        job = JobKeys(record.namespace, record.id)
        await note_suspects(self._scripts, job, record.epoch, record.model, indices)

    async def delete(self, namespace: str, id: str) -> Leftovers | Literal["running"]:
        """Erase an ended job from Redis, and return what it has used in the store.

        Repeated, it returns that again until workers have swept it: see `Deletions`.
        """
        job = JobKeys(namespace, id)
        write = partial(self._scripts.run, "delete", (job.record,), job.name)
        reply = await self._acceptance.of(write)
        return "running" if reply == b"running" else Leftovers.decode(reply)

    async def list(
        self, namespace: str, states: Sequence[State], *, offset: int = 0, count: int = 100
    ) -> list[Record]:
        """List records, newest first in each state, without their texts.

        Records of a newer version, and those that cannot be read, are left out.
        """
        records: list[Record] = []
        for state in states:
            names = await self._scripts.call(
                "ZREVRANGE", keys.index(namespace, state), offset, offset + count - 1
            )
            records += await read_listed(self._scripts, names)
        return records

    async def counts(self, namespace: str) -> dict[State, int]:
        """Count the jobs in each state."""
        values = await asyncio.gather(
            *(self._scripts.call("ZCARD", keys.index(namespace, state)) for state in State)
        )
        return dict(zip(State, (int(value) for value in values), strict=True))

    async def usage(self, namespace: str, day: date | None = None) -> dict[str, dict[str, float]]:
        """Read the usage of one day (UTC), by model."""
        number = ((day or datetime.now(UTC).date()) - date(1970, 1, 1)).days
        sums: dict[str, dict[str, float]] = {}
        names = await self._scripts.call("SMEMBERS", keys.used(number, namespace))
        found = await asyncio.gather(*(self._scripts.call("HGETALL", name) for name in names))
        for key, raw in zip(names, found, strict=True):
            model = keys.model_of_usage(key.decode())
            with suppress(ValueError):
                sums[model] = in_seconds({name.decode(): int(v) for name, v in raw.items()})
        return sums


async def read_listed(scripts: Scripts, names: Sequence[bytes]) -> list[Record]:
    """Read the records of these jobs, as far as they are there and readable. Without text.

    One that cannot be read, or is of a newer version, must not hide all the others.
    """
    found = await asyncio.gather(*(_read_listed(scripts, name) for name in names))
    return [record for record in found if record is not None]


async def _read_listed(scripts: Scripts, name: bytes) -> Record | None:
    with skip_on_error(f"read job {name!r}"), suppress(NewerRecord):
        job = JobKeys.parse(name.decode())
        values = await scripts.call("HMGET", job.record, *_LISTED)
        raw = {n.encode(): v for n, v in zip(_LISTED, values, strict=True) if v}
        if b"state" in raw:
            record = Record.decode(job.namespace, job.id, raw)
            record.check()
            return record
    return None


def _pushed(namespace: str, id: str, text: str, reply: Any) -> State:
    """Read the answer of the script `push`. Raises JobNotFound, TextDiverged, TextComplete."""
    check_refusal(namespace, "its model", reply)
    match reply:
        case [b"held", state]:
            return State(state.decode())
        case [b"diverged", held]:
            raise TextDiverged(held.decode(), text)
        case [b"closed", state]:
            raise TextComplete(
                f"session {id!r} takes no more text: it was completed, or has ended "
                f"({state.decode()})"
            )
        case _:
            raise JobNotFound(f"no session {id!r} in namespace {namespace!r}: expired or deleted")


def _bulks(requests: Sequence[Identified]) -> list[Sequence[Identified]]:
    starts = range(0, len(requests), SUBMITS_PER_SCRIPT)
    return [requests[start : start + SUBMITS_PER_SCRIPT] for start in starts]


def _outcomes(
    namespace: str, bulk: Sequence[Identified], reply: Any
) -> Iterator[Submitted | Exception]:
    """Yield what the script's reply, or its error, says of each job."""
    replies = [reply] * len(bulk) if isinstance(reply, Exception) else reply
    for (id, request), each in zip(bulk, replies, strict=True):
        try:
            yield _submitted(namespace, id, request, each)
        except Exception as error:  # noqa: BLE001 # the caller decides
            yield error


def _submission(
    namespace: str, requests: Sequence[Identified], mode: str, fence: str = ""
) -> tuple[list[str], list[Argument]]:
    """Build the keys and arguments of the script for these jobs."""
    jobs = [JobKeys(namespace, id) for id, _ in requests]
    arguments: list[Argument] = [jobs[0].name, mode, fence]
    for job, (_, request) in zip(jobs, requests, strict=True):
        queue, fields = keys.queue(request.lane, request.provider), _fields(request)
        arguments += (job.name, request.digest, queue, len(fields), *fields)
    return [job.record for job in jobs], arguments


def _submitted(namespace: str, id: str, request: Request, reply: Any) -> Submitted:
    if isinstance(reply, Exception):
        raise reply
    batch = request.batch
    try:
        check_refusal(namespace, request.model, reply)
    except NamespaceQuotaExceeded as refusal:
        # Whoever feeds a batch waits for room in the queue, as for room in its window.
        if batch and refusal.limit == "queued" and refusal.retryable:
            raise WindowFull from refusal
        raise
    outcome, *rest = reply
    if outcome == b"full":
        raise WindowFull
    if outcome == b"fenced":
        raise FeedLost(f"batch {batch!r} is fed by another worker now")
    if outcome == b"closed":
        raise batch_stopped(batch, *(text.decode() for text in rest))
    state, epoch = rest
    if outcome == b"conflict":
        raise Conflict(
            f"the id {id!r} stands for another request already (state {state.decode()}): "
            "take another id, or delete that job"
        )
    if outcome == b"deleted":
        raise JobNotFound(f"job {id!r} was deleted")
    return Submitted(outcome == b"new", State(state.decode()), int(epoch))


_LISTED = (
    "v", "state", "epoch", "created", "updated", "started", "ended", "model", "voice",
    "spoken_by", "turns", "suspect", "lane", "format", "queue", "boot", "route", "open",
    "attempts", "losses", "streak", "audio", "rate", "duration_ms", "bytes", "object", "code",
    "message", "usage.characters", "usage.billed", "usage.cached",
)  # fmt: skip


def _fields(request: Request) -> list[Argument]:
    """Return the request as fields of the record; what has its default is left out."""
    fields: list[Argument] = ["batch", encode(request.batch)] if request.batch else []
    fields += ("text", request.text, "model", request.model)
    optional: dict[str, Argument] = {
        "voice": request.voice,
        "options": "" if not request.options else request.options_json,
        "format": "" if request.format == "wav" else request.format,
        "lane": "" if request.lane == "live" else str(request.lane),
        "cut": request.segments or "",
        "language": request.language,
        "form": request.form.encode(),
        "live": "" if request.live is None else "1" if request.live else "0",
        "wire": "" if request.wire == "delta" else request.wire,
        "cache": "" if request.cache else "0",
        "name": request.name,
        "role": "" if request.role == "assistant" else request.role,
        "open": "1" if request.open else "",
        "trace": request.trace,
        "v": "" if RECORD_VERSION == 1 else RECORD_VERSION,
    }
    for name, value in optional.items():
        if value:
            fields += (name, value)
    return fields
