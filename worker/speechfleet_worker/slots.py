"""Slots: which queues of a worker have room for another job, and which jobs must give way.

A worker asks the server only for messages of queues that have room, so that it never holds one
that another worker could run. One stalled provider cannot fill it while others wait.

Batches may fill every slot. Live jobs that come then do not wait for one: a quarter of the slots
is theirs beyond the others.

A job leaves its slot when the provider has spoken all of it: the next one is spoken while its
audio is stored. So a store that is slow costs no provider's time; how many jobs may wait for it
beside those in slots is bounded.

Jobs of batches are made ready before they have a slot: claimed, and their text cut. Only as many
as will find a slot within a moment, for another worker may have a free one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from speechfleet.ledger import keys
from speechfleet.request import Lane
from speechfleet.settings import Settings
from speechfleet_worker.providers.built_in import BUILT_IN

LIVE_PART = 4
"""Live jobs have one slot more for so many slots, where batches may fill these."""
STORED_PART = 2
"""For so many slots a job may be stored without one. What is spoken and not yet stored is lost
with a worker that is killed, and paid for again."""
READY_PART = 20
"""A job is made ready for so many that left in the last second: it gets a slot within 50 ms."""
MAX_READY = 16
READY_PATIENCE_S = 1.0
"""Seconds after which a job that was made ready is left to other workers: those before it take
longer than the last ones did."""
FAIR_DIFFERENCE = 2
"""A queue gives a slot to another that has at least so many jobs less."""


@dataclass
class _Limit:
    """A number of jobs that may run at once."""

    jobs: int
    running: int = 0
    left: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_READY * READY_PART))
    """The times at which the last jobs left."""

    @property
    def has_room(self) -> bool:
        return self.running < self.jobs

    def has_room_soon(self, ready: int) -> bool:
        """Tell whether so many jobs will find room in a moment, going by the last second."""
        count = ready * READY_PART
        return count <= len(self.left) and time.monotonic() - self.left[-count] < 1

    def count(self, change: int) -> None:
        self.running += change
        if change < 0:
            self.left.append(time.monotonic())


class _Terms:
    """The limits that a queue's jobs count in, and those of them that must have room.

    ``required``: of each tuple one limit must have room.
    """

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.required: list[tuple[_Limit, ...]] = []

    @property
    def is_open(self) -> bool:
        # Asked for every queue at every message: plain loops take half the time.
        for limits in self.required:
            for limit in limits:
                if limit.running < limit.jobs:
                    break
            else:
                return False
        return True

    def gain_from(self, leaving: _Terms) -> bool:
        """Tell whether jobs on other terms take the room that one on these lacks."""
        return all(
            any(limit.has_room or leaving.counts_in(limit) for limit in limits)
            for limits in self.required
        )

    def counts_in(self, limit: _Limit) -> bool:
        return any(limit in limits for limits in self.required)

    def count(self, change: int) -> None:
        for limits in self.required:
            for limit in limits:
                limit.count(change)

    def is_open_soon(self, ready: int) -> bool:
        """Tell whether so many jobs of a batch may be made ready, where there is no room."""
        if self.lane != Lane.BATCH:
            return False
        return all(one.has_room or one.has_room_soon(ready) for (one,) in self.required)


class Slot:
    """The slot of one job, from its message on; from `Slots.take`.

    A job that is made ready gets it later: see `hold`. Its methods are for the event loop.
    """

    def __init__(self, slots: Slots, queue: str, *, is_held: bool = True) -> None:
        self.queue = queue
        self._slots = slots
        self._is_held = is_held
        self._is_pending = not is_held
        self._is_storing = False
        self._given = asyncio.Event()

    async def hold(self) -> bool:
        """Wait until the job has the slot; False where none came free in time."""
        if self._is_pending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_PATIENCE_S):
                    await self._given.wait()
        return self._is_held

    def give(self) -> None:
        """Give the slot to the job that was made ready."""
        self._is_pending, self._is_held = False, True
        self._given.set()

    def leave_to_store(self) -> None:
        """Leave the slot to another job, where one more may be stored beside those in slots."""
        if self._is_held and self._slots.begin_storing():
            self._is_storing = True
            self._give_up()

    def resume(self) -> None:
        """Hold the slot again, for a job that has to speak once more: it waits for no room."""
        self._end_storing()
        if not (self._is_held or self._is_pending):
            self._is_held = True
            self._slots.count(self.queue, 1)

    def leave(self) -> None:
        """Leave the slot at the job's end. Idempotent."""
        self._end_storing()
        if self._is_pending:
            self._is_pending = False
            self._slots.leave_line(self)
        if self._is_held:
            self._give_up()

    def _give_up(self) -> None:
        self._is_held = False
        self._slots.count(self.queue, -1)

    def _end_storing(self) -> None:
        if self._is_storing:
            self._is_storing = False
            self._slots.end_storing()


class Slots:
    """Counts the jobs of a worker by queue, from the message on. Any thread may call it.

    ``on_room`` is called when a queue that had no room has some again.
    """

    def __init__(
        self, settings: Settings, lanes: Sequence[Lane], providers: Sequence[str]
    ) -> None:
        self.on_room: Callable[[], object] = lambda: None
        self.total = settings.sessions if Lane.SESSION in lanes else settings.slots
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._ready: list[Slot] = []
        """Of jobs that have none yet."""
        self._storing = _Limit(max(1, self.total // STORED_PART))
        self._terms: dict[str, _Terms] = {}
        in_all, for_live = (_Limit(self.total),), _Limit(settings.slots // LIVE_PART)
        for provider in providers:
            own = _Limit(_of_provider(settings, provider))
            for lane in lanes:
                terms = _Terms(lane)
                shares = lane is Lane.LIVE and Lane.BATCH in lanes
                terms.required.append((*in_all, for_live) if shares else in_all)
                if own.jobs < settings.slots:
                    terms.required.append((own,))
                for queue in keys.queues(lane, provider):
                    self._terms[queue] = terms

    def serves(self, queue: str) -> bool:
        """Tell whether this worker takes jobs of a queue."""
        return queue in self._terms

    def is_open(self, queue: str) -> bool:
        """Tell whether one more job of this queue may run beside those that run."""
        terms = self._terms.get(queue)
        return terms is None or terms.is_open

    def may_take(self, queue: str) -> bool:
        """Tell whether a message of this queue may come: its job can run, or be made ready."""
        terms = self._terms.get(queue)
        return terms is None or self._may_take(terms)

    def _may_take(self, terms: _Terms) -> bool:
        return terms.is_open or terms.is_open_soon(len(self._ready) + 1)

    def take(self, queue: str) -> Slot:
        """Count a job whose message has come, until it leaves its slot."""
        with self._lock:
            terms = self._terms.get(queue)
            is_ready = terms is not None and terms.lane == Lane.BATCH and not terms.is_open
            slot = Slot(self, queue, is_held=not is_ready)
            if is_ready:
                self._ready.append(slot)
            else:
                self._count(queue, 1)
        return slot

    def leave_line(self, slot: Slot) -> None:
        """Forget a job that was made ready and ends without a slot."""
        with self._lock:
            self._ready.remove(slot)
        self.on_room()

    def count(self, queue: str, change: int) -> None:
        """Count one job more or less in a queue."""
        with self._lock:
            may_open = change < 0 and self._closed()
            self._count(queue, change)
            self._give_slots()
        if may_open and any(map(self._may_take, may_open)):
            self.on_room()

    def _closed(self) -> list[_Terms]:
        return [terms for terms in set(self._terms.values()) if not terms.is_open]

    def _count(self, queue: str, change: int) -> None:
        self._running[queue] += change
        if terms := self._terms.get(queue):
            terms.count(change)

    def _give_slots(self) -> None:
        """Give free slots to the jobs that were made ready, first come first served."""
        for slot in list(self._ready):
            if self.is_open(slot.queue):
                self._ready.remove(slot)
                self._count(slot.queue, 1)
                slot.give()

    def begin_storing(self) -> bool:
        """Count a job that is stored without a slot; False where there are as many as may be."""
        with self._lock:
            if not self._storing.has_room:
                return False
            self._storing.running += 1
            return True

    def end_storing(self) -> None:
        """Count it no more."""
        with self._lock:
            self._storing.running -= 1

    def rivals(self, queue: str) -> list[str]:
        """Name the queues without room to which a job of this queue should give its own.

        Among them may be the queue itself: there, namespaces share the slots.
        """
        own = self._terms.get(queue)
        if own is None or own.lane == Lane.SESSION:
            return []
        return [
            other
            for other, terms in self._terms.items()
            if not terms.is_open and terms.gain_from(own) and self._precedes(other, queue)
        ]

    def _precedes(self, other: str, queue: str) -> bool:
        if other == queue:
            return True
        lanes = self._terms[other].lane, self._terms[queue].lane
        if lanes[0] != lanes[1]:
            return lanes[0] == Lane.LIVE
        return self._running[queue] - self._running[other] >= FAIR_DIFFERENCE


def _of_provider(settings: Settings, provider: str) -> int:
    """Return the slots of a provider: as set, else as its server or its voice has them."""
    if (limit := settings.provider_slots.get(provider)) is not None:
        return limit
    if endpoint := settings.endpoints.get(provider):
        return endpoint.limits.get("slots", settings.slots)
    built_in = None if provider in settings.providers else BUILT_IN.get(provider)
    usual = built_in.slots if built_in else None
    return settings.slots if usual is None else min(usual, settings.slots)
