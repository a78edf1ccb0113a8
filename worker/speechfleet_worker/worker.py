"""One worker process: takes jobs that messages hint at, and runs each at most once.

All of it lives on one event loop, in a thread of its own; Celery's only hands messages over
(`app.py`). The loop also runs the house-keeping of `recovery.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

from speechfleet import keys
from speechfleet.errors import SpeechFleetError
from speechfleet.jobs import Lane
from speechfleet.keys import JobKeys
from speechfleet.ledger import Claim, Lease
from speechfleet.ledger.fleet import Worker as Description
from speechfleet.message import Hint
from speechfleet.settings import Settings
from speechfleet_worker.alone import Alone
from speechfleet_worker.feeding import Feeders
from speechfleet_worker.intake import Intake
from speechfleet_worker.models import Models
from speechfleet_worker.process import Process
from speechfleet_worker.providers.catalogue import offered
from speechfleet_worker.sessions import Nudges, Session
from speechfleet_worker.synthesis import Execution

log = logging.getLogger(__name__)


class Worker:
    """The executions of one process.

    ``queues``: what it takes jobs from; ``providers``: name -> "" if ready, else why not.
    """

    def __init__(
        self,
        settings: Settings,
        boot: str,
        queues: Sequence[str],
        providers: dict[str, str],
        intake: Intake,
    ) -> None:
        self.process = Process(settings, boot)
        self.boot = boot
        self._queues = tuple(queues)
        self._providers = providers
        self._intake = intake
        pinned = any(queue.startswith(keys.queue(Lane.SESSION, "")) for queue in queues)
        self._slots = settings.sessions if pinned else settings.slots
        self._room = asyncio.Semaphore(self._slots)
        """Celery fetches no more, as long as its connection knows what it has fetched."""
        self._models = Models(settings)
        self._tokens = itertools.count(1)
        self._running: dict[str, tuple[Execution, asyncio.Task[None]]] = {}
        self._left: dict[str, asyncio.Event] = {}
        self._by_queue: Counter[str] = Counter()
        self._alone = Alone(self.process.fleet)
        self.feeders = Feeders(self.process, queues)
        self.nudges = Nudges(self.process.fleet, boot, self._wake)

    def describe(self) -> Description:
        return Description(
            boot=self.boot,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version("speechfleet"),
            queues=() if self.process.draining else self._queues,
            slots=self._slots,
            running=len(self._running),
            draining=self.process.draining,
            holding=tuple(self._left),
            providers=self._providers,
        )

    async def offer(self) -> None:
        """Tell the fleet which models and voices are to be had here."""
        ready = [name for name, reason in self._providers.items() if not reason]
        found = await offered(self.process.settings, ready)
        for provider, models in found.items():
            await self.process.telemetry.offer(provider, models)

    # --- taking -----------------------------------------------------------------------------

    async def take(self, hint: Hint, queue: str = "", *, alone: bool = False) -> None:
        """Claim the job that a message hints at, and run it to its end; or drop the hint.

        Never raises but for cancellation: what a job fails of stands in its record.
        """
        try:
            async with self._room:
                await self._take(hint, queue, alone=alone)
        except SpeechFleetError as error:
            log.error("%s: %s", error.code, error, extra={"job": hint.name})

    async def _take(self, hint: Hint, queue: str, *, alone: bool) -> None:
        if self.process.draining or not self._intake.admits(queue, self._by_queue):
            await self.process.fleet.resend(hint)
            return
        while (left := self._left.get(hint.name)) is not None:
            # The same id runs here. Unless it was given back meanwhile, the claim after
            # this is refused, and the hint dropped.
            await left.wait()
        await self._run(hint, queue, alone=alone)

    async def _run(self, hint: Hint, queue: str, *, alone: bool) -> None:
        left = self._left[hint.name] = asyncio.Event()
        self._enter(queue)
        try:
            token = f"{self.boot}:{next(self._tokens)}"
            lease = Lease(
                self.process.connection.scripts, JobKeys.parse(hint.name), token, self.boot
            )
            claim = await lease.claim(hint.sequence, alone=alone)
            if claim.outcome == "granted":
                await self._execute(hint.name, lease, claim)
            elif claim.outcome == "alone":
                await self._alone.run(hint)
            else:
                log.debug("%s: %s", claim.outcome, claim.why, extra={"job": hint.name})
        finally:
            self._leave(queue)
            del self._left[hint.name]
            left.set()

    async def _execute(self, name: str, lease: Lease, claim: Claim) -> None:
        assert claim.record is not None
        session = claim.record.request.lane is Lane.SESSION
        execution = (Session if session else Execution)(self.process, self._models, lease)
        task = asyncio.create_task(execution.run(claim))
        self._running[name] = (execution, task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            del self._running[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the execution broke", exc_info=error, extra={"job": name})

    def _wake(self, name: str) -> None:
        """There is more text for a session; no-op where it is not (or no longer) here."""
        execution, _ = self._running.get(name, (None, None))
        if isinstance(execution, Session):
            execution.nudge()

    def look_at_intake(self) -> None:
        """Once more, in case the consumer has missed a change."""
        self._intake.changed()

    def _enter(self, queue: str) -> None:
        self._by_queue[queue] += 1
        self._intake.adjust(self._by_queue)

    def _leave(self, queue: str) -> None:
        self._by_queue[queue] -= 1
        self._intake.adjust(self._by_queue)

    # --- stopping ---------------------------------------------------------------------------

    def cancel(self, name: str, token: str) -> None:
        """Stop this execution of a job at once; the record says already that it is cancelled."""
        execution, task = self._running.get(name, (None, None))
        if execution is not None and task is not None and execution.lease.token == token:
            execution.unwanted = True
            task.cancel()

    async def drain(self) -> None:
        """Nothing new; running jobs finish in the grace time or are handed over."""
        self.process.drain()
        for name in self._running:
            self._wake(name)
        self._alone.drain()
        await self.feeders.drain()
        await self.process.fleet.describe(self.describe())
        while self._running and self.process.grace_left() > 0:
            tasks = [task for _, task in self._running.values()]
            await asyncio.wait(
                tasks, timeout=self.process.grace_left(), return_when=asyncio.FIRST_COMPLETED
            )
        for execution, task in list(self._running.values()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await execution.lease.hand_over("its worker's grace time is over")
        await self._alone.drained()
        await self.process.tell_counts()
        await self.process.fleet.leave(self.boot)

    # --- looking after what runs ------------------------------------------------------------

    async def reconcile(self) -> None:
        """Compare what runs here with what Redis says runs here, and mend either."""
        recorded = await self.process.fleet.running(self.boot)
        for name in recorded - self._left.keys():
            await self.process.fleet.recover(name, self.boot, "its worker does not know it")
        for name in self._running.keys() - recorded:
            running = self._running.get(name)
            # One that is ending learns from the answer itself whether it did.
            if running is not None and not running[0].ending:
                await self._regain(name, *running)

    async def _regain(self, name: str, execution: Execution, task: asyncio.Task[None]) -> None:
        claim = await execution.regain()
        if claim is None and not task.done():
            log.info("stopped: the job is no longer ours", extra={"job": name})
            execution.unwanted = True
            task.cancel()
