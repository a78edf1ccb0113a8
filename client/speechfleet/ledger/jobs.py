"""What a client does with jobs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from speechfleet import keys
from speechfleet.chunks import Entry, decode
from speechfleet.errors import (
    Conflict,
    IllegalTransition,
    JobNotFound,
    NewerRecord,
    TextComplete,
    TextDiverged,
)
from speechfleet.jobs import (
    RECORD_VERSION,
    Record,
    Request,
    Segment,
    State,
    in_seconds,
)
from speechfleet.keys import JobKeys
from speechfleet.ledger.batches import WindowFull, batch_stopped
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.pipe import Argument


@dataclass(frozen=True)
class Submitted:
    """``new``: this call made the job; else it was there already, with the same request."""

    new: bool
    state: State
    epoch: int


class Jobs:
    """Records by (namespace, id). Every method is one script or one command."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts

    async def submit(
        self,
        namespace: str,
        id: str,
        request: Request,
        how: Literal["new", "again", "claimed"] = "new",
    ) -> Submitted:
        """Write record and message at once, or find the same job. Raises Conflict.

        For an item of a batch also WindowFull, and BatchStopped where the batch is not open.
        ``again`` and ``claimed`` write a record which Redis lost, for a client that follows
        the job and for the worker that runs it; JobNotFound where it was deleted.
        """
        names, arguments = _submission(namespace, id, request, how)
        reply = await self._scripts.run("submit", names, *arguments)
        return _submitted(id, request.batch, reply)

    async def submit_all(
        self, namespace: str, requests: Sequence[tuple[str, Request]]
    ) -> list[Submitted]:
        """`submit` of each (id, request), sent together. Raises the first one's error; what
        the others wrote stands.
        """
        outcomes = await self.submit_each(namespace, requests)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Submitted)]

    async def submit_each(
        self, namespace: str, requests: Sequence[tuple[str, Request]]
    ) -> list[Submitted | Exception]:
        """The same; each outcome, or what `submit` would raise, in the requests' order."""
        replies = await self._scripts.run_all(
            "submit", [_submission(namespace, id, request, "new") for id, request in requests]
        )
        outcomes: list[Submitted | Exception] = []
        for (id, request), reply in zip(requests, replies, strict=True):
            try:
                outcomes.append(_submitted(id, request.batch, reply))
            except Exception as error:  # noqa: BLE001 # the caller decides
                outcomes.append(error)
        return outcomes

    async def find(self, namespace: str, id: str) -> Record | None:
        raw = await self._scripts.call("HGETALL", JobKeys(namespace, id).record)
        return Record.decode(namespace, id, raw) if raw else None

    async def load(self, namespace: str, id: str) -> Record:
        """Raises JobNotFound, NewerRecord."""
        record = await self.find(namespace, id)
        if record is None:
            raise JobNotFound(
                f"no job {id!r} in namespace {namespace!r}: never submitted, expired or deleted"
            )
        return record

    async def segments(self, namespace: str, id: str, epoch: int, first: int = 0) -> list[Segment]:
        raw = await self._scripts.call("LRANGE", JobKeys(namespace, id).segments(epoch), first, -1)
        return [Segment.decode(item) for item in raw]

    async def entries(
        self, namespace: str, id: str, epoch: int, after: str = "-", count: int = 64
    ) -> list[tuple[str, Entry | None]]:
        """At most ``count`` entries of the stream from (excluding) the entry ``after``."""
        start = after if after == "-" else f"({after}"
        raw = await self._scripts.call(
            "XRANGE", JobKeys(namespace, id).stream(epoch), start, "+", "COUNT", count
        )
        return [(entry.decode(), decode(fields)) for entry, fields in raw]

    async def push(
        self, namespace: str, id: str, text: str, known: int = 0, *, complete: bool = False
    ) -> State:
        """Extend a session's text to ``text``; the job's state.

        ``known``: code points of it that the server is known to hold, which are not sent again.
        Idempotent, in any order. ``complete``: no more text follows. Raises JobNotFound,
        TextDiverged, TextComplete.
        """
        job = JobKeys(namespace, id)
        prefix, tail = text[:known].encode(), text[known:].encode()
        reply = await self._scripts.run(
            "push",
            (job.record,),
            job.name,
            len(prefix),
            tail,
            hashlib.sha1(prefix).hexdigest(),  # noqa: S324 # what scripts can compute
            "1" if complete else "0",
        )
        match reply:
            case [b"held", state]:
                return State(state.decode())
            case [b"short"]:  # Redis has lost its last second
                return await self.push(namespace, id, text, complete=complete)
            case [b"diverged", held]:
                raise TextDiverged(held.decode(), text)
            case [b"closed", state]:
                raise TextComplete(
                    f"session {id!r} takes no more text: it was completed, or has ended "
                    f"({state.decode()})"
                )
        raise JobNotFound(f"no session {id!r} in namespace {namespace!r}: expired or deleted")

    async def cancel(self, namespace: str, id: str, reason: str, heard: int | None = None) -> bool:
        """Whether this call cancelled it; False where it had ended before. Raises JobNotFound.

        ``heard``: code points of the text that somebody heard, where that is known.
        """
        job = JobKeys(namespace, id)
        reply = await self._scripts.run(
            "cancel", (job.record,), job.name, reason, "" if heard is None else heard
        )
        if not reply:
            await self.load(namespace, id)
        return bool(reply[1] == b"1")

    async def retry(self, namespace: str, id: str) -> int:
        """The number of the new epoch. Raises JobNotFound, IllegalTransition."""
        job = JobKeys(namespace, id)
        reply = await self._scripts.run("retry", (job.record,), job.name)
        if not reply:
            await self.load(namespace, id)
        state, epoch, done = reply
        if done != b"1":
            raise IllegalTransition(
                f"job {id!r} is {state.decode()}: only one that has ended can be retried"
            )
        return int(epoch)

    async def delete(self, namespace: str, id: str) -> list[str] | Literal["running"]:
        """Erase the job from Redis; the hashes of segments that nothing else uses."""
        job = JobKeys(namespace, id)
        reply = await self._scripts.run("delete", (job.record,), job.name)
        return "running" if reply == b"running" else [hash.decode() for hash in reply]

    async def list(
        self, namespace: str, states: Sequence[State], *, offset: int = 0, count: int = 100
    ) -> list[Record]:
        """Records, newest first in each state. Fields without text.

        Those of a newer version are left out: one of them must not hide all the others.
        """
        records: list[Record] = []
        for state in states:
            names = await self._scripts.call(
                "ZREVRANGE", keys.index(namespace, state), offset, offset + count - 1
            )
            jobs = [JobKeys.parse(name.decode()) for name in names]
            found = await asyncio.gather(
                *(self._scripts.call("HMGET", job.record, *_LISTED) for job in jobs)
            )
            for job, values in zip(jobs, found, strict=True):
                raw = {n.encode(): v for n, v in zip(_LISTED, values, strict=True) if v}
                if b"state" not in raw:
                    continue
                with suppress(NewerRecord):
                    records.append(Record.decode(namespace, job.id, raw))
        return records

    async def counts(self, namespace: str) -> dict[State, int]:
        values = await asyncio.gather(
            *(self._scripts.call("ZCARD", keys.index(namespace, state)) for state in State)
        )
        return dict(zip(State, (int(value) for value in values), strict=True))

    async def usage(self, namespace: str, day: date | None = None) -> dict[str, dict[str, float]]:
        """Sums of one day (UTC), by model."""
        number = ((day or datetime.now(UTC).date()) - date(1970, 1, 1)).days
        sums: dict[str, dict[str, float]] = {}
        async for key in self._scan(keys.usages(number, namespace)):
            raw = await self._scripts.call("HGETALL", key)
            model = keys.model_of_usage(key.decode())
            sums[model] = in_seconds({name.decode(): int(v) for name, v in raw.items()})
        return sums

    async def _scan(self, pattern: str) -> AsyncIterator[bytes]:
        cursor = b"0"
        while True:
            cursor, found = await self._scripts.call(
                "SCAN", cursor, "MATCH", pattern, "COUNT", 500
            )
            for key in found:
                yield key
            if int(cursor) == 0:
                return


def _submission(
    namespace: str, id: str, request: Request, how: str
) -> tuple[tuple[str], list[Argument]]:
    job = JobKeys(namespace, id)
    queue = keys.queue(request.lane, request.provider)
    return (job.record,), [job.name, request.digest, queue, how, *_fields(request)]


def _submitted(id: str, batch: str, reply: Any) -> Submitted:
    if isinstance(reply, Exception):
        raise reply
    outcome, *rest = reply
    if outcome == b"full":
        raise WindowFull
    if outcome == b"closed":
        raise batch_stopped(batch, *(word.decode() for word in rest))
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
    "v", "state", "epoch", "created", "updated", "started", "ended", "model", "voice", "lane",
    "format", "queue", "boot", "route", "open", "attempts", "losses", "streak", "audio", "rate",
    "duration_ms", "bytes", "object", "code", "message", "usage.characters", "usage.billed",
    "usage.cached",
)  # fmt: skip


def _fields(request: Request) -> list[Argument]:
    """The request as fields of the record; what has its default is left out."""
    fields: list[Argument] = ["batch", keys.encode(request.batch)] if request.batch else []
    fields += ("text", request.text, "model", request.model)
    optional: dict[str, Argument] = {
        "voice": request.voice,
        "options": "" if not request.options else request.options_json,
        "format": "" if request.format == "wav" else request.format,
        "lane": "" if request.lane == "live" else str(request.lane),
        "cut": request.segments or "",
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
