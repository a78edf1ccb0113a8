"""Admit segments to the provider: no text twice at once, no more than the rate limit allows.

A job that has to wait for either holds no slot: it is suspended, and resumed in its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from speechfleet.errors import RateLimited
from speechfleet.ledger import Lease
from speechfleet.ledger.circuit_breakers import CircuitBreakers
from speechfleet.ledger.message import JobMessage
from speechfleet.ledger.queues import Queues
from speechfleet.ledger.rate_limits import (
    MAX_WAIT_S,
    Acquired,
    AcquireOutcome,
    Call,
    RateLimiter,
)
from speechfleet.record import Record
from speechfleet.request import Lane, Request
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.synthesis.look_ahead import InFlightSegment

REPLAY_S = 0.01
"""Seconds that it costs to read one finished segment again, when a suspended job comes back."""
SELF_RESUME_S = {"segment": 5.0, "rate_limit": 60.0}
"""Seconds after which a suspended job that nobody resumed looks for itself."""


HoldSlot = Callable[[], Awaitable[None]]
"""Waits until a job that was made ready has a slot; may end its run."""


async def _has_slot() -> None:
    """Do nothing: the job has one."""


@dataclass
class Suspended(Exception):
    """The job has to wait: another one speaks its segment, or the rate limit has no room.

    ``what``: the hash of that segment, or the model.
    """

    kind: Literal["segment", "rate_limit"]
    what: str
    hash: str = ""
    """The segment that would be synthesized next, where the rate limit has no room."""


@dataclass(frozen=True)
class AdmittedCall:
    """A call that may begin.

    ``doubted``: the calls before it were refused; ``at``: when it was granted, by this
    process's clock.
    """

    call: Call
    doubted: bool
    at: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        return time.monotonic() - self.at


class Admission:
    """Admit the segments of one execution to the provider, one after the other.

    A segment that has to wait holds up those behind it, and until it is its turn in the stream
    it waits here. So whenever a job is suspended, nothing that was paid for is thrown away.
    """

    def __init__(
        self,
        rate_limiter: RateLimiter,
        queues: Queues,
        lease: Lease,
        record: Record,
        capabilities: Capabilities,
        recorded: int,
        breakers: CircuitBreakers | None = None,
        hold_slot: HoldSlot = _has_slot,
    ) -> None:
        """``recorded``: segments of the job that are stored already.

        ``hold_slot`` waits until the job has one.
        """
        self._hold_slot = hold_slot
        is_shared = len(record.request.providers) > 1  # nobody knows who failed
        self._breakers = None if is_shared else breakers
        self._provider = record.provider
        self._rate_limiter = rate_limiter
        self._queues = queues
        self._lease = lease
        request = record.request
        self._model = request.model
        self._lane = lane_of(request)
        self._capabilities = capabilities
        self._again = record.claims > 1
        limited = rate_limiter.limited(request.model, metered=capabilities.metered)
        self._looks_first = limited or self._again
        self._recorded = recorded
        self._taken: set[str] = set()
        self._booked: set[Call] = set()
        self._missing: set[str] = set()
        self.order = asyncio.Lock()
        """Held by the segment that is next: first come, first served."""

    def looks_first(self, hash: str) -> bool:
        """Tell whether to look into the segment store before asking to enter.

        Asking books room in the rate limit, which others may need. It also replaces the claim on
        the segment; the claim of an earlier run tells that a call is still to be counted.
        """
        return self._looks_first or hash in self._missing

    async def enter(self, item: InFlightSegment) -> AdmittedCall | None:
        """Wait until the call may begin; None where the segment should be looked for again.

        Call it while holding `order`. Raises Suspended.
        """
        if self.looks_first(item.spoken.hash):
            await self._hold_slot()  # else nothing is booked, and this costs no time of the slot
        call = Call(
            self._model,
            self._lane,
            item.spoken.hash,
            item.segment.index,
            self._capabilities.count(item.spoken_text),
            begun=self._recorded > 0,
            patience=MAX_WAIT_S + REPLAY_S * self._recorded,
            metered=self._capabilities.metered,
            missing=item.spoken.hash in self._missing,
        )
        is_mine = call.hash in self._taken
        # Noted first: a task that is cancelled before the answer comes may have it all the same.
        self._taken.add(call.hash)
        self._booked.add(call)
        taken = await self._rate_limiter.acquire(self._lease, call)
        if taken.outcome is AcquireOutcome.GRANTED:
            await self._hold_slot()
            admitted = AdmittedCall(call, taken.doubted)
            return admitted if await self._may_begin(call, taken) else None
        self._booked.discard(call)
        if not is_mine:
            self._taken.discard(call.hash)
        if taken.outcome is AcquireOutcome.STORED:
            self._missing.add(call.hash)  # unless it is found now
        elif not item.turn.is_set():
            await item.turn.wait()
        elif taken.outcome is AcquireOutcome.IN_FLIGHT:
            raise Suspended("segment", call.hash)
        else:
            raise Suspended("rate_limit", call.model, call.hash)
        return None

    async def paid(self, hash: str) -> bool:
        """Tell whether an earlier run of this job had a stored segment spoken, uncounted."""
        return self._again and await self._lease.inherit_call(hash)

    async def _may_begin(self, call: Call, taken: Acquired) -> bool:
        """Wait as long as was asked; False where the fleet has to pause for longer by now."""
        if not taken.wait:
            return True
        await asyncio.sleep(taken.wait)
        late = await self._rate_limiter.put_off(call.model, taken)
        if late > MAX_WAIT_S:
            await self._done(call)
            return False
        await asyncio.sleep(late)
        return True

    async def done(self, admitted: AdmittedCall) -> None:
        """Give back the room of a call that has ended, in whatever way."""
        await self._done(admitted.call)

    async def _done(self, call: Call) -> None:
        self._booked.discard(call)
        if resumable := await self._rate_limiter.done(self._lease, call):
            await resume(self._queues, resumable)

    async def refused(self, error: RateLimited, admitted: AdmittedCall | None) -> None:
        """Report a refusal to the whole fleet. Without an admitted call it was a session's."""
        age = admitted.age if admitted else 0.0
        await self._rate_limiter.report_refusal(self._model, error.retry_after, age)

    async def through(self, admitted: AdmittedCall | None) -> None:
        """Report that the provider has begun to speak, where that was doubted."""
        if admitted and admitted.doubted:
            await self._rate_limiter.report_success(self._model, admitted.age)

    async def allows(self, concurrent: object) -> None:
        """Note the calls at once that the provider says its account allows, where it does."""
        if isinstance(concurrent, int) and concurrent > 0:
            await self._rate_limiter.concurrent.report(self._model, concurrent)

    async def answered(self, age: float) -> None:
        """Report a call that ended well, where that counts; it began ``age`` seconds ago."""
        if self._breakers is not None and self._breakers.is_doubted(self._provider):
            await self._breakers.report_success(self._provider, age)

    def recorded(self, hash: str) -> None:
        """Forget the claim on a segment: it ended when the record named the segment."""
        self._recorded += 1
        self._taken.discard(hash)

    @property
    def holds_claims(self) -> bool:
        """Tell whether `close` has anything to give back."""
        return bool(self._taken or self._booked)

    async def close(self) -> None:
        """Release the segments that were claimed and not stored: others may speak them."""
        await self._lease.release(self._taken)
        self._taken.clear()
        for call in tuple(self._booked):
            await self._done(call)


async def suspend(lease: Lease, request: Request, suspended: Suspended) -> None:
    """Free the job's slot and put it back to QUEUED. Raises LeaseLost."""
    kind, seconds = suspended.kind, SELF_RESUME_S[suspended.kind]
    await lease.suspend(kind, suspended.what, lane_of(request), seconds, suspended.hash)


def lane_of(request: Request) -> str:
    """Name the queue in which a job waits for the rate limit."""
    return "batch" if request.lane is Lane.BATCH else "live"


async def resume(queues: Queues, names: Iterable[str]) -> None:
    """Put suspended jobs back into their queues."""
    await queues.resend_all(JobMessage(name, "0") for name in names)
