"""The house-keeping that every worker does: the dead, the lost, the due and the expired."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping

import redis

from speechfleet import keys
from speechfleet.errors import SpeechFleetError
from speechfleet.ledger import Fleet
from speechfleet.message import Hint
from speechfleet_worker.admission import wake
from speechfleet_worker.worker import Worker

log = logging.getLogger(__name__)

BEAT_EVERY = 0.5
LOOK_EVERY = 0.5
LONGEST_GAP = 1.0
"""Seconds between an observer's own looks above which it begins to count anew."""
SILENCE = 3.0
"""Seconds without a heartbeat after which a boot is dead."""
DUE_EVERY = 0.1
RECONCILE_EVERY = 1.0
LOST_EVERY = 1.0
LOST_AFTER = 2.5
"""Seconds for which a popped message may be in nobody's hands."""
DESCRIBE_EVERY = 2.0
COUNTS_EVERY = 2.0
OFFER_EVERY = 300.0
RECLAIM_EVERY = 1.0
FORGET_EVERY = 60.0
FEEDS_EVERY = 1.0


class Observer:
    """Who is dead, judged from looks at heartbeat counters. No I/O, no clock of its own.

    A boot is dead when its counter stood still for `SILENCE` seconds of gapless looks at one
    server run. A gap in the looks (this process was stopped, Redis was away) or a restart of
    the server starts every count again: otherwise a pause of Redis were everybody's death.
    """

    def __init__(self) -> None:
        self._last_look = float("-inf")
        self._run_id = ""
        self._seen: dict[str, tuple[int, float]] = {}

    def look(self, now: float, run_id: str, beats: Mapping[str, int]) -> list[str]:
        if now - self._last_look > LONGEST_GAP or run_id != self._run_id:
            self._seen.clear()
        self._last_look, self._run_id = now, run_id
        self._seen = {
            boot: seen
            if (seen := self._seen.get(boot)) is not None and seen[0] == count
            else (count, now)
            for boot, count in beats.items()
        }
        return [boot for boot, (_, since) in self._seen.items() if now - since >= SILENCE]


class LostMessages:
    """Which popped messages are in nobody's hands for too long. No I/O."""

    def __init__(self) -> None:
        self._since: dict[Hint, float] = {}

    def look(self, now: float, popped: set[Hint]) -> set[Hint]:
        """Of what is popped and still queued, that which has been so for `LOST_AFTER`."""
        self._since = {hint: self._since.get(hint, now) for hint in popped}
        return {hint for hint, since in self._since.items() if now - since >= LOST_AFTER}


class Sweeper:
    """Runs the periodic work of one worker on its loop. Any number of them do no harm."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._fleet: Fleet = worker.process.fleet
        self._observer = Observer()
        self._lost = LostMessages()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for work, every in (
                (self._bury_the_dead, LOOK_EVERY),
                (self._fleet.due, DUE_EVERY),
                (self._wake_those_in_line, DUE_EVERY),
                (self._worker.reconcile, RECONCILE_EVERY),
                (self._resend_the_lost, LOST_EVERY),
                (self._describe, DESCRIBE_EVERY),
                (self._worker.process.tell_counts, COUNTS_EVERY),
                (self._worker.offer, OFFER_EVERY),
                (self._fleet.reclaim, RECLAIM_EVERY),
                (self._fleet.forget, FORGET_EVERY),
                (self._worker.feeders.look, FEEDS_EVERY),
            ):
                group.create_task(_repeat(work, every))
            group.create_task(self._listen_for_cancellations())
            group.create_task(self._listen_for_drain())

    async def _bury_the_dead(self) -> None:
        run_id, beats = await self._fleet.beats()
        now = asyncio.get_running_loop().time()
        for boot in self._observer.look(now, run_id, beats):
            if boot == self._worker.boot:
                continue
            names = await self._fleet.bury(boot, f"its worker {boot} died")
            log.warning("worker %s died; %d jobs go back in line", boot, len(names))

    async def _wake_those_in_line(self) -> None:
        await wake(self._fleet, await self._worker.process.budgets.refill())

    async def _resend_the_lost(self) -> None:
        popped = await self._fleet.popped()
        now = asyncio.get_running_loop().time()
        candidates = self._lost.look(now, popped)
        if not candidates:
            return
        held = {name for worker in await self._fleet.workers() for name in worker.holding}
        for hint in candidates:
            if hint.name not in held and await self._fleet.resend(hint):
                log.warning("its message was lost and is sent again", extra={"job": hint.name})

    async def _describe(self) -> None:
        self._worker.look_at_intake()
        await self._fleet.describe(self._worker.describe())

    async def _listen_for_cancellations(self) -> None:
        async with self._worker.process.hub.channels.listen(keys.CANCELLED) as cancelled:
            while True:
                name, token = (await cancelled.get()).decode().split(" ")
                self._worker.cancel(name, token)

    async def _listen_for_drain(self) -> None:
        async with self._worker.process.hub.channels.listen(keys.DRAIN) as asked:
            while (await asked.get()).decode() not in ("*", self._worker.boot):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


async def _repeat(work: Callable[[], Awaitable[object]], every: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await work()
        except SpeechFleetError as error:
            log.warning("house-keeping waits: %s", error)
        except Exception:
            # One duty that breaks must not end the others: nobody else would do them here.
            log.exception("house-keeping broke")
        await asyncio.sleep(max(0.0, every - (loop.time() - began)))


class Heartbeat(threading.Thread):
    """Beats for the boot from a thread of its own: a busy loop is not a dead worker."""

    def __init__(self, client: redis.Redis, boot: str, script: str) -> None:
        """``script``: ``beat.lua`` as the server takes it."""
        super().__init__(name="heartbeat", daemon=True)
        self._client = client
        self._script = script
        self._boot = boot
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(BEAT_EVERY):
            try:
                self._client.eval(self._script, 1, keys.BEATS, self._boot)
            except redis.RedisError as error:
                log.debug("no heartbeat: %s", type(error).__name__)

    def stop(self) -> None:
        self._stopped.set()
        self.join()
