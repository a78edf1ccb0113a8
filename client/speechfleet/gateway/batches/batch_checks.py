"""Checks the input files of batches that were announced, whichever gateway took them.

A gateway holds a batch by a lease that it renews. Where it dies, another one, or the next of its
own place, takes the batch when the lease is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from functools import partial

from speechfleet.client import AsyncClient
from speechfleet.errors import BatchNotFound, BatchStopped, SpeechFleetError
from speechfleet.gateway.batches.batch_input import Problem
from speechfleet.gateway.batches.batch_start import BatchStart
from speechfleet.gateway.batches.batch_view import Notes
from speechfleet.gateway.offered_models import ModelCache

log = logging.getLogger("speechfleet.gateway")

AT_ONCE = 2
"""Input files that one gateway checks at once: each takes a thread."""
LEASE_S, RENEW_S = 6.0, 1.5
LOOK_INTERVAL_S = 2.0
"""Seconds between looks for batches that another gateway has left."""


class BatchChecks:
    """The checks of one gateway; `run` them as a task."""

    def __init__(self, client: AsyncClient, models: ModelCache) -> None:
        self._client = client
        self._models = models
        self._asked = asyncio.Event()
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}

    def look(self) -> None:
        """Look for batches at once: there is a new one."""
        self._asked.set()

    async def run(self) -> None:
        """Check what is to be checked, until cancelled; what runs then is given back."""
        try:
            while True:
                self._asked.clear()
                try:
                    await self._begin()
                except SpeechFleetError as error:
                    log.debug("no batch is looked for now: %s", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), LOOK_INTERVAL_S)
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _begin(self) -> None:
        ledger = self._client.ledger
        await ledger.open()
        while len(self._running) < AT_ONCE and (taken := await ledger.batch_orders.take(LEASE_S)):
            if taken in self._running:  # its lease ran out on a slow machine, and is renewed so
                continue
            self._running[taken] = task = asyncio.create_task(self._check(*taken))
            task.add_done_callback(partial(self._ended, taken))

    def _ended(self, taken: tuple[str, str], _: asyncio.Task[None]) -> None:
        del self._running[taken]
        self.look()

    async def _check(self, namespace: str, id: str) -> None:
        try:
            async with self._lease(namespace, id):
                await self._start(self._client.within(namespace), id)
        except (BatchNotFound, BatchStopped) as error:
            log.info("batch %s is not checked: %s", id, error)
        except SpeechFleetError as error:
            log.warning("batch %s is checked again later: %s", id, error)

    async def _start(self, client: AsyncClient, id: str) -> None:
        notes = Notes.of(await client.ledger.batches.get(client.namespace, id))
        if notes is None:
            raise BatchNotFound(f"batch {id!r} has no input file")
        start = BatchStart(client, id, notes)
        try:
            await start.run(await self._models.get(client))
        except SpeechFleetError:
            raise
        except Exception:
            log.exception("checking batch %s broke", id)
            message = "checking it broke; the log of the gateway that did says where"
            await start.refuse([Problem("internal", message)])

    @contextlib.asynccontextmanager
    async def _lease(self, namespace: str, id: str) -> AsyncGenerator[None, None]:
        """Hold a batch until the end of the check; a check that is cancelled gives it back."""
        orders = self._client.ledger.batch_orders
        renewing = asyncio.create_task(self._renew(namespace, id))
        try:
            yield
        except asyncio.CancelledError:
            with contextlib.suppress(SpeechFleetError):
                await orders.keep(namespace, id, 0)
            raise
        finally:
            renewing.cancel()

    async def _renew(self, namespace: str, id: str) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(SpeechFleetError):  # the next time will do
                await self._client.ledger.batch_orders.keep(namespace, id, LEASE_S)
