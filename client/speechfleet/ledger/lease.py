"""The lease of a worker on one job: every write happens under its token, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from speechfleet.chunks import Finished, MarkEntry, Started, WordsEntry, encode
from speechfleet.ledger import keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.message import JobMessage
from speechfleet.ledger.pipeline import Argument
from speechfleet.ledger.scripts import Scripts
from speechfleet.ledger.segment_accounts import LeaseLost, SegmentAccounts, flat_pairs
from speechfleet.ledger.voice_changes import VoiceChanges
from speechfleet.lifecycle import LOSSES_BEFORE_FAILED, LOSSES_BEFORE_ISOLATION
from speechfleet.record import RECORD_VERSION, Record, StoredSegment

Place = Literal["head", "front"]
"""The head of a queue, or the front of the namespace's own jobs: those of others go first."""
GUARANTEED_BYTES = 128 << 10
"""Bytes of audio that the stream of a running job may hold however full the others are."""


class NoRoom(Exception):
    """The streams hold as much audio as they may: wait, and publish again."""


class ClaimOutcome(StrEnum):
    """The answer to a claim."""

    GRANTED = "granted"
    REFUSED = "refused"
    """The job runs elsewhere, has ended, or waits for another message."""
    ISOLATED = "isolated"
    """Several of its workers died: it has to run in a process of its own."""
    GONE = "gone"
    """No such job."""


@dataclass(frozen=True)
class Claim:
    """The answer to a claim; ``record`` and ``segments`` only where it was granted."""

    outcome: ClaimOutcome
    reason: str = ""
    name: str = ""
    """The job that the namespaces' turns have chosen, where it was granted or is isolated."""
    record: Record | None = None
    segments: tuple[StoredSegment, ...] = ()

    @classmethod
    def decode(cls, reply: Any) -> Claim:
        """Read the answer of the script `claim`. Raises NewerRecord."""
        match reply:
            case [b"granted", name, fields, segments]:
                job = JobKeys.parse(name.decode())
                raw = dict(zip(fields[::2], fields[1::2], strict=True))
                record = Record.decode(job.namespace, job.id, raw)
                stored = tuple(map(StoredSegment.decode, segments))
                return cls(ClaimOutcome.GRANTED, "", job.name, record, stored)
            case [b"refused", reason]:
                return cls(ClaimOutcome.REFUSED, reason.decode())
            case [b"isolated", name]:
                return cls(ClaimOutcome.ISOLATED, name=name.decode())
            case _:
                return cls(ClaimOutcome.GONE)


@dataclass(frozen=True)
class RecordedSegment:
    """A stored segment as the record takes it.

    ``window``: bytes that the stream may hold; ``account``: the one that ``usage`` is summed up
    for; ``words`` follow its entry in the stream; ``spoken_by`` as in `Record`.
    """

    stored: StoredSegment
    rate: int
    window: int
    account: str
    usage: Mapping[str, int]
    words: WordsEntry | None = None
    spoken_by: Sequence[str] = ()

    def arguments(self) -> list[Argument]:
        """Return it as the scripts take it."""
        stored = self.stored
        return [
            *(stored.index, stored.end, stored.text_start, stored.text_end, stored.hash),
            stored.encode()[:-1],
            *(self.rate, self.window, self.account, "\n".join(self.spoken_by)),
            *_counted(self.words),
            *flat_pairs(self.usage),
        ]


@dataclass(frozen=True)
class Written:
    """The text of a session past some offset, and the seconds since its client did something."""

    tail: str
    open: bool
    """More text may come."""
    unseen: float
    """Seconds since its client was heard of."""
    unpushed: float
    """Seconds since the last new text."""


class Lease(SegmentAccounts, VoiceChanges):
    """The right of one execution to one job. All writes are idempotent and raise LeaseLost."""

    def __init__(self, scripts: Scripts, job: JobKeys, token: str, boot: str) -> None:
        self._scripts = scripts
        self.job = job
        self.token = token
        self.boot = boot

    @classmethod
    async def take(
        cls, scripts: Scripts, message: JobMessage, queue: str, *, token: str, boot: str
    ) -> tuple[Lease, Claim]:
        """Claim the job whose turn it is in the queue that this message came from.

        The lease is of the job that was chosen, which need not be the one that is named.
        """
        lease = cls(scripts, JobKeys.parse(message.name), token, boot)
        claim = await lease._claim(queue, message.sequence, isolated=False)
        if claim.name:
            lease.job = JobKeys.parse(claim.name)
        return lease, claim

    async def claim(self, sequence: str = "", *, isolated: bool = False) -> Claim:
        """Claim this very job: if QUEUED (as of ``sequence``), or with this token again."""
        return await self._claim("", sequence, isolated=isolated)

    async def _claim(self, queue: str, sequence: str, *, isolated: bool) -> Claim:
        arguments = (queue, sequence, self.token, self.boot, "1" if isolated else "0")
        reply = await self._scripts.run(
            "claim",
            (self.job.record,),
            self.job.name,
            *arguments,
            RECORD_VERSION,
            LOSSES_BEFORE_ISOLATION,
        )
        return Claim.decode(reply)

    async def read(self, offset: int) -> Written:
        """Read the text that was pushed into this session past ``offset`` (bytes of UTF-8)."""
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
        mark: MarkEntry | None = None,
        limit: int,
        so_far: bytes | None = None,
        drop_unstored: bool = False,
    ) -> int:
        """Append the audio [start, start + len(data)).

        Returns the offset up to which the stream holds it: less than asked means that the
        server has forgotten some (send again from there). ``mark``: of the segment that begins
        here. ``so_far``: all the audio with ``data``, for the accumulated wire. ``limit``: bytes
        that all streams may hold; where that is reached, the stream loses its oldest audio that is
        stored, with ``drop_unstored`` any: readers wait until it is. Raises NoRoom.
        """
        entry: tuple[Argument, ...] = (start, data) if so_far is None else (0, so_far)
        limits = (limit, GUARANTEED_BYTES, "1" if drop_unstored else "0")
        job = self.job
        reply = await self._scripts.run(
            "publish",
            (job.record, job.streams, *keys.STREAM_COUNTERS, keys.EXPIRING, job.minutes),
            self.token,
            start,
            start + len(data),
            *(*entry, *limits),
            started.sample_rate,
            *_counted(mark),
            *(() if start else encode(started)),
        )
        if reply == -2:
            raise NoRoom
        return self._owned(reply)

    async def rewind(self, offset: int, attempt: int, reason: str) -> None:
        """Declare void what lies past ``offset``."""
        owned = (self.job.record, self.job.streams)
        reply = await self._scripts.run("rewind", owned, self.token, offset, attempt, reason)
        self._owned(reply)

    async def segment(self, segment: RecordedSegment) -> bool:
        """Record a stored segment; return False where the server lacks one before it."""
        return bool(self._owned(await self._run("segment", *segment.arguments())))

    async def finish(
        self,
        end: Finished,
        last: RecordedSegment | None = None,
        *,
        size: int,
        rate: int,
        gain: float | None = None,
    ) -> bool:
        """End the job as SUCCEEDED; ``size``: bytes of the object.

        ``last``: the last segment, where it is recorded together with the end. ``gain``: in dB,
        where the object was brought to a loudness.

        Returns False where the server does not hold all the audio.
        """
        stored = (end.object, end.media_type, size, end.duration_ms)
        reply = await self._run(
            "finish",
            *(end.bytes, *stored, end.usage, rate, "" if gain is None else gain),
            *(() if last is None else last.arguments()),
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
        """End the attempt: the next one is due in ``delay`` seconds, or there is none.

        ``of_account``: every other job of the account would fail of this, too. It stops the
        job's batch, and the job is cancelled, so that it can be submitted again.
        """
        error = (code, message, "1" if retryable else "0")
        again = (max_attempts, int(delay * 1000))
        concerned = (account, "1" if of_account else "0")
        reply = await self._run("fail", *error, *again, *concerned, *flat_pairs(usage))
        if reply == b"lost":
            raise LeaseLost
        outcome: Literal["retry", "failed", "withdrawn"] = reply.decode()
        return outcome

    async def suspend(
        self,
        kind: Literal["segment", "rate_limit"],
        subject: str,
        lane: str,
        seconds: float,
        hash: str = "",
    ) -> None:
        """Suspend the job until it is resumed, or the seconds are over. Raises LeaseLost.

        ``subject``: the hash of the segment that another job synthesizes, or the model whose
        rate limit has no room. ``hash``: the segment that the job would synthesize next; it is
        resumed when another job has stored that.
        """
        reply = await self._run(
            "suspend",
            kind,
            subject if kind == "segment" else keys.RateLimitKeys(subject).name,
            lane,
            int(seconds * 1000),
            hash,
        )
        if not reply:
            raise LeaseLost

    async def hand_over(self, reason: str, place: Place = "head") -> None:
        """Put the job back to a place in its queue; no-op where the lease is lost."""
        await self._scripts.run(
            "requeue", (self.job.record,), self.job.name, "token", self.token, reason, 0, place
        )

    async def _run(self, script: str, *arguments: Argument) -> Any:
        return await self._scripts.run(
            script, (self.job.record,), self.job.name, self.token, *arguments
        )

    def _owned(self, reply: int) -> int:
        if reply < 0:
            raise LeaseLost
        return reply


def _counted(entry: MarkEntry | WordsEntry | None) -> list[Argument]:
    """Return the number of an entry's fields, and the fields: the script adds it, if any."""
    fields: list[Argument] = [] if entry is None else [*encode(entry)]
    return [len(fields), *fields]


async def recover_from_worker(scripts: Scripts, name: str, boot: str, reason: str) -> str:
    """Put the job of a worker back into its queue: the worker died, or does not know the job.

    Returns "queued", "failed" (too many workers died of it), or "kept": it is not that worker's.
    """
    job = JobKeys.parse(name)
    reply = await scripts.run(
        "requeue", (job.record,), job.name, "boot", boot, reason, LOSSES_BEFORE_FAILED, "head"
    )
    return str(reply.decode())
