"""What all executions of one worker process share."""

from __future__ import annotations

import math
import os
import socket
import time
import uuid

from speechfleet import tracing
from speechfleet.errors import FleetUnavailable
from speechfleet.ledger import Budgets, Connection, Fleet, Hub, Jobs, Telemetry
from speechfleet.settings import Settings
from speechfleet.store import open_store
from speechfleet.telemetry import STORE, Tally

PATIENCE = 60.0
"""Seconds that a worker's commands wait for Redis to come back."""


def new_boot() -> str:
    """One worker process from start to death: never the same twice, also across hosts."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class Process:
    """Connections, the store and the settings, by one boot id. Made on the loop that uses it."""

    def __init__(self, settings: Settings, boot: str) -> None:
        self.settings = settings
        self.boot = boot
        if settings.traces:
            tracing.enable()
        self.connection = Connection(settings, patience=PATIENCE)
        self.jobs = Jobs(self.connection)
        self.fleet = Fleet(self.connection)
        self.budgets = Budgets(self.connection)
        self.hub = Hub(self.connection)
        self.telemetry = Telemetry(self.connection)
        self.tally = Tally()
        self.store = open_store(settings.required_store)
        self.store.when_done(lambda seconds: self.tally.observe(STORE, seconds=seconds))
        self._leave_at = math.inf

    def drain(self) -> None:
        """From now on the grace time runs."""
        if not self.draining:
            self._leave_at = time.monotonic() + self.settings.grace

    @property
    def draining(self) -> bool:
        return self._leave_at < math.inf

    def grace_left(self) -> float:
        """Seconds that running jobs still have; infinite unless the worker drains."""
        return self._leave_at - time.monotonic()

    async def tell_counts(self) -> None:
        """Add to the fleet's sums what was counted here since the last time."""
        counts = self.tally.take()
        try:
            await self.telemetry.count(counts)
        except FleetUnavailable:
            self.tally.put_back(counts)
            raise

    async def close(self) -> None:
        await self.hub.close()
        await self.store.close()
        await self.connection.close()
