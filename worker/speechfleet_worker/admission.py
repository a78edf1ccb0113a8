"""Before a provider is called: is the text being spoken already, and has the account room?

Who has to wait for either holds no slot: its job is parked, and woken when it is its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from speechfleet.errors import RateLimited
from speechfleet.jobs import Lane, Record, Request
from speechfleet.ledger import Fleet, Lease
from speechfleet.ledger.budgets import HELD, Call, Taken
from speechfleet.message import Hint
from speechfleet_worker.lookahead import Ahead
from speechfleet_worker.models import Voice
from speechfleet_worker.process import Process

REPLAYED = 0.01
"""Seconds that it costs to read one finished segment again, when a parked job comes back."""
LOOK_AGAIN = {"segment": 5.0, "budget": 60.0}
"""Seconds after which a parked job that nobody woke looks for itself."""


@dataclass
class Parked(Exception):
    """The job has to wait for a segment that another speaks, or for its model's budget."""

    kind: Literal["segment", "budget"]
    what: str


@dataclass(frozen=True)
class Entry:
    """A call that may begin. ``doubted``: those before were refused; ``at``: when it was granted,
    by this process' clock.
    """

    call: Call
    doubted: bool
    at: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        return time.monotonic() - self.at


class Turnstile:
    """The segments of one execution, let through to the provider one after the other.

    A segment that has to wait holds up those behind it, and until it is its turn in the stream
    it waits here. So whenever a job is parked, nothing that was paid for is thrown away.
    """

    def __init__(
        self, process: Process, lease: Lease, record: Record, voice: Voice, recorded: int
    ) -> None:
        """``recorded``: segments of the job that are stored already."""
        self._budgets = process.budgets
        self._fleet = process.fleet
        self._lease = lease
        request = record.request
        self._model = request.model
        self._lane = lane_of(request)
        self._capabilities = voice.capabilities
        self._again = record.claims > 1
        limited = process.budgets.limited(request.model, metered=voice.capabilities.metered)
        self.look_first = limited or self._again
        """Whether asking to enter takes something: room of the account that others may want, or
        the trace of a call that this job has begun before."""
        self._recorded = recorded
        self._taken: set[str] = set()
        self._booked: set[Call] = set()
        self._missing: set[str] = set()
        self.order = asyncio.Lock()
        """Held by the segment that is next: first come, first served."""

    async def enter(self, item: Ahead) -> Entry | None:
        """The call, once it may begin; None where the segment should be looked for again.

        To be asked under `order`. Raises Parked.
        """
        call = Call(
            self._model,
            self._lane,
            item.spoken.hash,
            item.segment.index,
            self._capabilities.count(item.segment.text),
            begun=self._recorded > 0,
            patience=HELD + REPLAYED * self._recorded,
            metered=self._capabilities.metered,
            missing=item.spoken.hash in self._missing,
        )
        mine = call.hash in self._taken
        # Noted first: who is cancelled before the answer comes may have it all the same.
        self._taken.add(call.hash)
        self._booked.add(call)
        taken = await self._budgets.take(self._lease, call)
        if taken.outcome == "go":
            entry = Entry(call, taken.doubted)
            return entry if await self._may_begin(call, taken) else None
        self._booked.discard(call)
        if not mine:
            self._taken.discard(call.hash)
        if taken.outcome == "stored":
            self._missing.add(call.hash)  # unless it is found now
        elif not item.turn.is_set():
            await item.turn.wait()
        elif taken.outcome == "spoken":
            raise Parked("segment", call.hash)
        else:
            raise Parked("budget", call.model)
        return None

    async def paid(self, hash: str) -> bool:
        """Whether this job itself has had a stored segment spoken, which nobody wrote down."""
        return self._again and await self._budgets.began(self._lease, hash)

    async def _may_begin(self, call: Call, taken: Taken) -> bool:
        """After its wait. False where the fleet was told meanwhile to pause for longer."""
        if not taken.wait:
            return True
        await asyncio.sleep(taken.wait)
        late = await self._budgets.put_off(call.model, taken)
        if late > HELD:
            await self._done(call)
            return False
        await asyncio.sleep(late)
        return True

    async def done(self, entry: Entry) -> None:
        """The call has ended, however."""
        await self._done(entry.call)

    async def _done(self, call: Call) -> None:
        self._booked.discard(call)
        if woken := await self._budgets.done(self._lease, call):
            await wake(self._fleet, woken)

    async def refused(self, error: RateLimited, entry: Entry | None) -> None:
        """By the provider: the whole fleet takes notice. No entry: a session's call."""
        age = entry.age if entry else 0.0
        await self._budgets.refused(self._model, error.retry_after, age)

    async def through(self, entry: Entry | None) -> None:
        """The provider has begun to speak."""
        if entry and entry.doubted:
            await self._budgets.through(self._model, entry.age)

    def recorded(self, hash: str) -> None:
        """The segment is stored; its claim went with that."""
        self._recorded += 1
        self._taken.discard(hash)

    async def close(self) -> None:
        """What was taken and not stored may be spoken by others."""
        await self._lease.release(self._taken)
        self._taken.clear()
        for call in tuple(self._booked):
            await self._done(call)


async def park(lease: Lease, request: Request, parked: Parked) -> None:
    """Out of its slot and back to QUEUED. Raises LeaseLost."""
    await lease.park(parked.kind, parked.what, lane_of(request), LOOK_AGAIN[parked.kind])


def lane_of(request: Request) -> str:
    """The line that a job waits in for a budget."""
    return "batch" if request.lane is Lane.BATCH else "live"


async def wake(fleet: Fleet, names: Iterable[str]) -> None:
    """Put parked jobs back in line."""
    await asyncio.gather(*(fleet.resend(Hint(name, "0")) for name in names))
