"""A worker process: it takes jobs whose messages Celery delivers, and runs each at most once.

All of it lives on one event loop, in a thread of its own; Celery only hands messages over
(`celery_app.py`). The periodic work of `maintenance` runs on the same loop.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections.abc import Sequence
from importlib.metadata import version

from speechfleet.errors import SpeechFleetError
from speechfleet.ledger import Claim, ClaimOutcome, Lease
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.message import JobMessage
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.settings import Settings
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.isolation import IsolatedJobs
from speechfleet_worker.maintenance.batch_feeders import Feeders
from speechfleet_worker.maintenance.webhook_sender import WebhookSender
from speechfleet_worker.middleware import JobOutcome
from speechfleet_worker.providers.catalogue import offered
from speechfleet_worker.running_jobs import RunningJobs
from speechfleet_worker.slots import Slot, Slots
from speechfleet_worker.synthesis.session import Nudges

log = logging.getLogger(__name__)


class Worker:
    """A worker process, as long as it lives.

    ``queues``: what it takes jobs from; ``providers``: name -> "" if ready, else why not.
    """

    def __init__(
        self,
        settings: Settings,
        boot: str,
        queues: Sequence[str],
        providers: dict[str, str],
        slots: Slots,
    ) -> None:
        self.context = WorkerContext(settings, boot, slots)
        self.boot = boot
        self.queues = tuple(queues)
        self._providers = providers
        self._host, self._version = socket.gethostname(), version("speechfleet")
        self._tokens = itertools.count(1)
        self._messages: set[str] = set()
        """Sequence numbers of the messages that are in this process's hands."""
        self._isolated = IsolatedJobs(self.context.ledger.workers)
        self.jobs = RunningJobs(self.context)
        self.feeders = Feeders(self.context, queues)
        self.webhooks = WebhookSender(self.context)
        self.nudges = Nudges(
            self.context.ledger.workers, boot, self.jobs.nudge, lambda: bool(self.jobs)
        )

    def describe(self) -> WorkerInfo:
        """Describe this process, for the registry of workers."""
        return WorkerInfo(
            boot=self.boot,
            host=self._host,
            pid=os.getpid(),
            version=self._version,
            queues=() if self.context.draining else self.queues,
            slots=self.context.slots.total,
            running=len(self.jobs),
            draining=self.context.draining,
            holding=tuple(self._messages),
            providers=self._providers,
        )

    async def offer(self) -> None:
        """Write down for the fleet which models and voices this process has."""
        ready = [name for name, reason in self._providers.items() if not reason]
        found = await offered(self.context.settings, ready)
        for provider, models in found.items():
            await self.context.ledger.overview.offer(provider, models)

    # --- taking jobs ------------------------------------------------------------------------

    async def take(self, message: JobMessage, slot: Slot) -> tuple[str, JobOutcome]:
        """Claim the job whose turn it is in the queue of the slot, and run it to its end.

        Returns the name of that job, and how this run of it ended. Raises nothing but a
        cancellation: the error of a job is written to its record.
        """
        self._messages.add(message.sequence)
        try:
            if self.context.draining:
                await self.context.ledger.queues.give_back(message, slot.queue)
                return message.name, JobOutcome("handed_over")
            lease, claim = await Lease.take(
                self.context.ledger.connection.scripts,
                message,
                slot.queue,
                token=self._new_token(),
                boot=self.boot,
            )
            return lease.job.name, await self._run(message, lease, claim, slot)
        except SpeechFleetError as error:
            log.error("%s: %s", error.code, error, extra={"job": message.name})
            return message.name, JobOutcome("failed", error.code, error.message)
        finally:
            self._messages.discard(message.sequence)

    async def take_isolated(self, message: JobMessage) -> None:
        """Claim this very job, in a process that runs nothing else, and run it to its end."""
        job = JobKeys.parse(message.name)
        try:
            lease = Lease(
                self.context.ledger.connection.scripts, job, self._new_token(), self.boot
            )
            await self._run(message, lease, await lease.claim(message.sequence, isolated=True))
        except SpeechFleetError as error:
            log.error("%s: %s", error.code, error, extra={"job": message.name})

    async def _run(
        self, message: JobMessage, lease: Lease, claim: Claim, slot: Slot | None = None
    ) -> JobOutcome:
        match claim.outcome:
            case ClaimOutcome.GRANTED:
                self._messages.discard(message.sequence)  # it is used up
                return await self.jobs.run(lease, claim, slot)
            case ClaimOutcome.ISOLATED:
                await self._isolated.run(JobMessage(claim.name, message.sequence))
                return JobOutcome("handed_over")
            case _:
                log.debug("%s: %s", claim.outcome, claim.reason, extra={"job": message.name})
                return JobOutcome("lost", message=claim.reason)

    def _new_token(self) -> str:
        return f"{self.boot}:{next(self._tokens)}"

    # --- stopping ---------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take nothing new, let jobs end within the grace time, and hand over the others."""
        self.context.drain()
        self._isolated.drain()
        await self.feeders.drain()
        await self.context.ledger.workers.describe(self.describe())
        await self.jobs.drain()
        await self._isolated.drained()
        await self.webhooks.drain()
        await self.context.tell_counts()
        await self.context.ledger.workers.leave(self.boot)
