"""The jobs that one worker process runs: each an execution in a task of its own."""

from __future__ import annotations

import asyncio
import logging

from speechfleet.ledger import Claim, Lease
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.request import Lane
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.middleware import JobOutcome
from speechfleet_worker.slots import Slot
from speechfleet_worker.synthesis.execution import Execution
from speechfleet_worker.synthesis.model_cache import ModelCache
from speechfleet_worker.synthesis.session import Session

log = logging.getLogger(__name__)

Running = tuple[Execution, asyncio.Task[None]]


class RunningJobs:
    """The executions of one process by the name of their job, at most one for each."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._models = ModelCache(context.settings)
        self._running: dict[str, Running] = {}
        self._left: dict[str, asyncio.Event] = {}
        """Is set when the execution of a job has left this process."""
        self._unknown: set[str] = set()

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, lease: Lease, claim: Claim, slot: Slot | None = None) -> JobOutcome:
        """Run a job that was granted to its end, once no other execution of it is left here.

        ``slot``: where it holds one; it may leave that before its end.
        """
        name = lease.job.name
        while (left := self._left.get(name)) is not None:
            # An execution that lost this job is still on its way out.
            await left.wait()
        left = self._left[name] = asyncio.Event()
        try:
            return await self._execute(name, lease, claim, slot)
        finally:
            del self._left[name]
            left.set()

    async def _execute(
        self, name: str, lease: Lease, claim: Claim, slot: Slot | None
    ) -> JobOutcome:
        assert claim.record is not None
        kind = Session if claim.record.lane is Lane.SESSION else Execution
        execution = kind(self._context, self._models, lease, slot)
        task = asyncio.create_task(execution.run(claim))
        self._running[name] = (execution, task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            del self._running[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the execution broke", exc_info=error, extra={"job": name})
        return execution.outcome

    def nudge(self, name: str) -> None:
        """Tell a session that it has more text; no-op where it is not here."""
        execution, _ = self._running.get(name, (None, None))
        if isinstance(execution, Session):
            execution.nudge()

    def cancel(self, name: str, token: str) -> None:
        """Stop this execution of a job at once; its record says already that it is cancelled."""
        execution, task = self._running.get(name, (None, None))
        if execution is None or task is None or execution.unwanted:
            return
        if execution.lease.token == token:
            execution.unwanted = True
            task.cancel()

    async def drain(self) -> None:
        """Let jobs end within the grace time, and hand over those that do not."""
        for name in self._running:
            self.nudge(name)
        while self._running and self._context.grace_left() > 0:
            tasks = [task for _, task in self._running.values()]
            await asyncio.wait(
                tasks, timeout=self._context.grace_left(), return_when=asyncio.FIRST_COMPLETED
            )
        for execution, task in list(self._running.values()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await execution.lease.hand_over("its worker's grace time is over")

    async def reconcile(self) -> None:
        """Compare what runs here with what Redis says runs here, and mend either."""
        boot, workers = self._context.boot, self._context.ledger.workers
        recorded = await workers.running(boot)
        unknown = recorded - self._left.keys()
        # At the second look: the answer to a claim may be on its way.
        for name in unknown & self._unknown:
            with skip_on_error(f"recover job {name}"):
                await workers.recover_job(name, boot, "its worker does not know it")
        self._unknown = unknown
        for name in self._running.keys() - recorded:
            running = self._running.get(name)
            # One that is ending learns from the answer itself whether it did; one that was
            # stopped is on its way out, which another cancellation would cut short.
            if running is not None and not (running[0].ending or running[0].unwanted):
                await self._regain(name, *running)

    async def _regain(self, name: str, execution: Execution, task: asyncio.Task[None]) -> None:
        claim = await execution.regain()
        # It may have begun to end while we asked: then it is no longer ours because it has ended.
        if claim is None and not (task.done() or execution.ending or execution.unwanted):
            log.info("stopped: the job is no longer ours", extra={"job": name})
            execution.unwanted = True
            task.cancel()
