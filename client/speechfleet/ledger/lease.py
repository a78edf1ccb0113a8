"""What a worker does with a job that it owns: every write under its token, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from speechfleet import keys
from speechfleet.chunks import Finished, Started, encode
from speechfleet.jobs import (
    LOSSES_BEFORE_ALONE,
    LOSSES_BEFORE_FAILED,
    RECORD_VERSION,
    Record,
    Segment,
)
from speechfleet.keys import JobKeys
from speechfleet.ledger.pipe import Argument
from speechfleet.ledger.scripts import Scripts


class LeaseLost(Exception):
    """The job is no longer this execution's: cancelled, taken over, or gone."""


class StreamFull(Exception):
    """The streams hold as much audio as they may: wait, and publish again."""


@dataclass(frozen=True)
class Claim:
    """The answer to a claim; ``record`` and ``segments`` only where it was granted."""

    outcome: Literal["granted", "refused", "alone", "gone"]
    why: str = ""
    record: Record | None = None
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Written:
    """A session's text past some offset. ``open``: more may come. ``unseen`` and ``unpushed``:
    seconds since its client was heard of, and since the last new text."""

    tail: str
    open: bool
    unseen: float
    unpushed: float


class Lease:
    """One execution's hold on one job. All writes are idempotent and raise LeaseLost."""

    def __init__(self, scripts: Scripts, job: JobKeys, token: str, boot: str) -> None:
        self._scripts = scripts
        self.job = job
        self.token = token
        self.boot = boot

    async def claim(self, sequence: str = "", *, alone: bool = False) -> Claim:
        """Granted only from QUEUED (as of ``sequence``, if given), or again to this token."""
        outcome, *rest = await self._scripts.run(
            "claim",
            (self.job.record,),
            self.job.name,
            sequence,
            self.token,
            self.boot,
            "1" if alone else "0",
            RECORD_VERSION,
            LOSSES_BEFORE_ALONE,
        )
        match outcome:
            case b"granted":
                flat, segments = rest
                raw = dict(zip(flat[::2], flat[1::2], strict=True))
                record = Record.decode(self.job.namespace, self.job.id, raw)
                return Claim("granted", "", record, tuple(map(Segment.decode, segments)))
            case b"refused":
                return Claim("refused", rest[0].decode())
            case b"alone":
                return Claim("alone")
            case _:
                return Claim("gone")

    async def read(self, offset: int) -> Written:
        """What was pushed into this session past ``offset``, in bytes of UTF-8."""
        reply = await self._scripts.run(
            "read", (self.job.record, keys.nudged(self.boot)), self.token, self.job.name, offset
        )
        if reply == -1:
            raise LeaseLost
        tail, open_, unseen, unpushed = reply
        return Written(tail.decode(), open_ == b"1", unseen / 1000, unpushed / 1000)

    async def publish(
        self,
        start: int,
        data: bytes,
        *,
        started: Started,
        limit: int,
        so_far: bytes | None = None,
    ) -> int:
        """Append the audio [start, start + len(data)).

        Returns the offset up to which the stream holds it: less than asked means that the
        server has forgotten some (send again from there). ``so_far``: all the audio including
        ``data``, for the accumulated wire. ``limit``: bytes that all streams may hold.
        """
        entry: tuple[Argument, ...] = (start, data) if so_far is None else (0, so_far)
        reply = await self._scripts.run(
            "publish",
            (self.job.record, self.job.streams, keys.BYTES),
            self.token,
            start,
            start + len(data),
            *entry,
            limit,
            started.sample_rate,
            *(() if start else encode(started)),
        )
        if reply == -2:
            raise StreamFull
        return self._owned(reply)

    async def rewind(self, offset: int, attempt: int, reason: str) -> None:
        """Void what lies past ``offset``."""
        self._owned(
            await self._scripts.run(
                "rewind",
                (self.job.record, self.job.streams),
                self.token,
                offset,
                attempt,
                reason,
            )
        )

    async def segment(
        self, segment: Segment, rate: int, window: int, account: str, usage: Mapping[str, int]
    ) -> bool:
        """Record a stored segment; False where the server lacks one before it."""
        reply = await self._run(
            "segment",
            segment.index,
            segment.end,
            segment.text_start,
            segment.text_end,
            segment.hash,
            segment.encode()[:-1],
            rate,
            window,
            account,
            *_flat(usage),
        )
        return bool(self._owned(reply))

    async def finish(self, end: Finished, *, size: int, rate: int) -> bool:
        """The terminal transition; ``size``: bytes of the object.

        False where the server does not hold all the audio.
        """
        reply = await self._run(
            "finish",
            end.bytes,
            end.object,
            end.media_type,
            size,
            end.duration_ms,
            end.usage,
            rate,
        )
        return bool(self._owned(reply))

    async def fail(
        self,
        code: str,
        message: str,
        *,
        retryable: bool,
        max_attempts: int,
        delay: float,
        account: str,
        of_account: bool,
        usage: Mapping[str, int],
    ) -> Literal["retry", "failed", "withdrawn"]:
        """End the attempt: the next is due in ``delay`` seconds, or there is none.

        ``of_account``: every other job would fail of this, too. A batch is stopped by it, and
        the job goes back to whoever feeds the batch, cancelled.
        """
        reply = await self._run(
            "fail",
            code,
            message,
            "1" if retryable else "0",
            max_attempts,
            int(delay * 1000),
            account,
            "1" if of_account else "0",
            *_flat(usage),
        )
        if reply == b"lost":
            raise LeaseLost
        outcome: Literal["retry", "failed", "withdrawn"] = reply.decode()
        return outcome

    async def park(
        self, kind: Literal["segment", "budget"], what: str, lane: str, seconds: float
    ) -> None:
        """Back to QUEUED until somebody wakes it, or the seconds are over. See `Budgets.take`.

        ``what``: the hash of the segment that another speaks, or the model that has no room.
        """
        reply = await self._run(
            "park",
            kind,
            what if kind == "segment" else keys.BudgetKeys(what).name,
            lane,
            int(seconds * 1000),
        )
        if not reply:
            raise LeaseLost

    async def release(self, hashes: Iterable[str]) -> None:
        """Segments that this execution took and did not store: others may speak them."""
        if hashes := tuple(hashes):
            await self._run("release", *hashes)

    async def hand_over(self, reason: str) -> None:
        """Back to the head of the line; no-op where the lease is lost."""
        await self._scripts.run(
            "requeue", (self.job.record,), self.job.name, "token", self.token, reason, 0
        )

    async def _run(self, script: str, *arguments: Argument) -> Any:
        return await self._scripts.run(
            script, (self.job.record,), self.job.name, self.token, *arguments
        )

    def _owned(self, reply: int) -> int:
        if reply < 0:
            raise LeaseLost
        return reply


async def recover(scripts: Scripts, name: str, boot: str, reason: str) -> str:
    """Take a job from a dead boot: "queued", "failed" (too many losses) or "kept"."""
    job = JobKeys.parse(name)
    reply = await scripts.run(
        "requeue", (job.record,), job.name, "boot", boot, reason, LOSSES_BEFORE_FAILED
    )
    return str(reply.decode())


def _flat(usage: Mapping[str, int]) -> list[Argument]:
    return [item for pair in usage.items() if pair[1] for item in pair]
