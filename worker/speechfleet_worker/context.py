"""The context that all executions of one worker process share."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
import uuid

from speechfleet.errors import FleetUnavailable
from speechfleet.ledger.ledger import Ledger
from speechfleet.observability import tracing
from speechfleet.observability.metrics import STORE, Tally
from speechfleet.settings import Settings
from speechfleet.store import open_store
from speechfleet_worker.middleware import MiddlewareStack
from speechfleet_worker.slots import Slots


def new_boot() -> str:
    """Make the id of one worker process from start to death: unique across hosts and starts."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class WorkerContext:
    """Holds the ledger, the store, the slots, the settings; made on the loop that uses it."""

    def __init__(self, settings: Settings, boot: str, slots: Slots) -> None:
        self.settings = settings
        self.boot = boot
        self.slots = slots
        if settings.traces:
            tracing.enable()
        self.ledger = Ledger(settings, patience_s=settings.redis_patience, name=f"worker-{boot}")
        self.tally = Tally()
        self.middleware = MiddlewareStack.load(settings)
        self.store = open_store(settings.required_store)
        self.store.when_done(lambda seconds: self.tally.observe(STORE, seconds=seconds))
        self._leave_at = math.inf
        self.job_delayed = asyncio.Event()
        self.job_suspended = asyncio.Event()
        """Set when a job of this worker was: until then nobody need look for such jobs often."""
        self.heartbeat_sent_at = -math.inf
        """When the loop last sent the heartbeat, by `time.monotonic`."""

    def drain(self) -> None:
        """Start the grace time."""
        if not self.draining:
            self._leave_at = time.monotonic() + self.settings.grace

    @property
    def draining(self) -> bool:
        """Tell whether the worker takes no more jobs."""
        return self._leave_at < math.inf

    def grace_left(self) -> float:
        """Return the seconds that running jobs still have; infinite unless the worker drains."""
        return self._leave_at - time.monotonic()

    async def tell_counts(self) -> None:
        """Add the counts since the last call to the sums of the fleet."""
        counts = self.tally.take()
        try:
            await self.ledger.overview.count(counts)
        except FleetUnavailable:
            self.tally.put_back(counts)
            raise

    async def close(self) -> None:
        """Close the ledger and the store."""
        await self.ledger.close()
        await self.store.close()
