"""The periodic work that every worker does for the fleet.

It recovers the jobs of dead workers, sends lost and due messages, resumes suspended jobs, sweeps
what deleted jobs left in the store, and removes what has expired.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping

from speechfleet.erasure import delete_expired_files, sweep_deleted
from speechfleet.errors import SpeechFleetError, StoreError
from speechfleet.ledger import keys
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.ledger.workers import WorkerInfo
from speechfleet_worker.maintenance.failure_detector import FailureDetector, LostMessages
from speechfleet_worker.maintenance.heartbeat import HEARTBEAT_INTERVAL_S
from speechfleet_worker.maintenance.store_recount import StoreRecount
from speechfleet_worker.synthesis.admission import resume
from speechfleet_worker.worker import Worker

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
"""Between looks whether there is anything to do for the fleet."""
DUE_INTERVAL_S = 0.1
"""Between looks for delayed and suspended jobs, while there are some."""
DESCRIBE_INTERVAL_S = 2.0
UNCHANGED_INTERVAL_S = 10.0
"""Between descriptions of a worker of which nothing has changed."""
COUNTS_INTERVAL_S = 2.0
OFFER_INTERVAL_S = 300.0
FORGET_INTERVAL_S = 60.0
FILES_INTERVAL_S = 30.0
"""Between looks for files of clients that have expired."""
RECOUNT_INTERVAL_S = 20.0
"""Between looks for namespaces whose bytes in the store are to be measured."""
BATCHES_INTERVAL_S = 10.0
"""Between looks for batches whose completion window has ended."""


class Sweeper:
    """The periodic work of one worker, on its loop. Any number of sweepers do no harm."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._context = worker.context
        self._ledger = worker.context.ledger
        self._recount = StoreRecount(self._ledger.quotas, worker.context.store, worker.boot)
        self._failure_detector = FailureDetector()
        self._lost_messages = LostMessages()
        self._described: tuple[WorkerInfo | None, float] = (None, -math.inf)

    async def run(self) -> None:
        """Repeat every duty until cancelled."""
        async with asyncio.TaskGroup() as group:
            for duty, interval in (
                (self._send_heartbeat, HEARTBEAT_INTERVAL_S),
                (self._look, LOOK_INTERVAL_S),
                (self._describe, DESCRIBE_INTERVAL_S),
                (self._context.tell_counts, COUNTS_INTERVAL_S),
                (self._worker.offer, OFFER_INTERVAL_S),
                (self._ledger.job_index.forget_expired, FORGET_INTERVAL_S),
                (self._delete_expired_files, FILES_INTERVAL_S),
                (self._expire_batches, BATCHES_INTERVAL_S),
                (self._recount.look, RECOUNT_INTERVAL_S),
            ):
                group.create_task(_repeat(duty, interval))
            delayed, suspended = self._context.job_delayed, self._context.job_suspended
            group.create_task(_repeat_while_needed(self._send_due, delayed))
            group.create_task(_repeat_while_needed(self._resume_waiters, suspended))
            group.create_task(self._listen_for_cancellations())
            group.create_task(self._listen_for_drain())

    async def _look(self) -> None:
        """Do what is to be done for the fleet; one command tells that there is nothing."""
        worker = self._worker
        if not worker.jobs and not await self._ledger.open_work.exists(worker.boot, worker.queues):
            return
        self._context.job_delayed.set()
        self._context.job_suspended.set()
        for duty in (
            worker.jobs.reconcile,
            self._resend_lost_messages,
            self._ledger.stream_budget.reclaim,
            self._sweep_deleted_jobs,
            worker.feeders.look,
            worker.webhooks.look,
        ):
            await _try(duty)

    async def _send_heartbeat(self) -> None:
        """Send this worker's heartbeat, and look at those of the others, read by the same trip."""
        connects, heartbeats = await self._ledger.workers.send_heartbeat(self._worker.boot)
        self._context.heartbeat_sent_at = time.monotonic()
        await self._recover_from_dead_workers(connects, heartbeats)

    async def _recover_from_dead_workers(
        self, connects: int, heartbeats: Mapping[str, int]
    ) -> None:
        """Find the workers whose heartbeats have stopped, and requeue their jobs."""
        now = asyncio.get_running_loop().time()
        for boot in self._failure_detector.look(now, connects, heartbeats):
            if boot == self._worker.boot:
                continue
            with skip_on_error(f"recover the jobs of {boot}"):
                names = await self._ledger.workers.recover_jobs(boot, f"its worker {boot} died")
                log.warning("worker %s died; %d jobs go back to their queues", boot, len(names))

    async def _send_due(self) -> bool:
        """Send the messages of delayed jobs that are due; True while there are delayed ones."""
        if not await self._ledger.queues.delayed():
            return False
        await self._ledger.queues.send_due()
        return True

    async def _resume_waiters(self) -> bool:
        """Resume jobs for which a rate limit has room again; True while any wait for that."""
        if not await self._ledger.rate_limiter.waited_for():
            return False
        await resume(self._ledger.queues, await self._ledger.rate_limiter.refill())
        return True

    async def _resend_lost_messages(self) -> None:
        popped = await self._ledger.queues.popped()
        now = asyncio.get_running_loop().time()
        candidates = self._lost_messages.look(now, popped)
        if not candidates:
            return
        workers = await self._ledger.workers.workers()
        held = {sequence for worker in workers for sequence in worker.holding}
        lost = [message for message in candidates if message.sequence not in held]
        for message in await self._ledger.queues.resend_all(lost):
            log.warning(
                "queue message of job %s was lost; sending it again",
                message.name,
                extra={"job": message.name},
            )

    async def _sweep_deleted_jobs(self) -> None:
        for deletion in await self._ledger.deletions.take_due():
            clean = False
            try:
                clean = await sweep_deleted(
                    self._ledger, self._context.store, deletion.namespace, deletion.id
                )
            except StoreError as error:
                log.warning("objects of a deleted job stay in the store for now: %s", error)
            await self._ledger.deletions.swept(deletion, clean=clean)

    async def _delete_expired_files(self) -> None:
        await delete_expired_files(self._ledger, self._context.store)

    async def _expire_batches(self) -> None:
        orders = self._ledger.batch_orders
        for namespace, id in await orders.overdue():
            with skip_on_error(f"expire batch {id!r}"):
                await orders.expire(namespace, id)

    async def _describe(self) -> None:
        info, now = self._worker.describe(), asyncio.get_running_loop().time()
        last, at = self._described
        if info != last or now - at >= UNCHANGED_INTERVAL_S:
            await self._ledger.workers.describe(info)
            self._described = (info, now)

    async def _listen_for_cancellations(self) -> None:
        async with self._ledger.streams.channels.listen(keys.CANCELLED) as cancelled:
            while True:
                name, _, token = (await cancelled.get()).decode(errors="replace").partition(" ")
                self._worker.jobs.cancel(name, token)

    async def _listen_for_drain(self) -> None:
        async with self._ledger.streams.channels.listen(keys.DRAIN) as asked:
            while (await asked.get()).decode(errors="replace") not in ("*", self._worker.boot):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


async def _repeat_while_needed(work: Callable[[], Awaitable[bool]], needed: asyncio.Event) -> None:
    """Run the work often while it returns True, and else when it is needed.

    The worker that delays or suspends a job sets the event, and so does a look that finds the
    jobs of a worker that died.
    """

    async def look() -> None:
        needed.clear()
        if not await work():
            await needed.wait()

    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await _try(look)
        await asyncio.sleep(max(0.0, DUE_INTERVAL_S - (loop.time() - began)))


async def _repeat(work: Callable[[], Awaitable[object]], every: float) -> None:
    """Run the work at multiples of an interval, so that what is due together wakes once."""
    loop = asyncio.get_running_loop()
    while True:
        await _try(work)
        rest = every - loop.time() % every
        # A timer may be a little early, and must not find its own moment again.
        await asyncio.sleep(rest if rest > every / 10 else rest + every)


async def _try(work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except SpeechFleetError as error:
        log.warning("periodic work waits: %s", error)
    except Exception:
        # One duty that breaks must not end the others: nobody else would do them here.
        log.exception("periodic work broke")
