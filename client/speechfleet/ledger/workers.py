"""The registry of worker processes: heartbeats, descriptions, and the recovery of dead ones."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.lease import recover_from_worker
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.lifecycle import State
from speechfleet.record import Record, Waiting

DESCRIPTION_TTL_S = 30
"""Seconds that a worker's description outlives its last heartbeat."""
MAX_NUDGED = 10_000
"""Nudged sessions that one look reports."""
KNOWN_FOR_S = 2.0
"""Seconds for which a look at the live workers is taken as fresh."""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker process as it describes itself with its heartbeat.

    ``boot``: its boot id. ``queues``: what it takes jobs from. ``providers``: name -> "" if
    ready, else why not. ``slots``: jobs at once; ``running``: jobs now; ``holding``: sequence
    numbers of the messages that it has taken from their queues.
    """

    boot: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    running: int = 0
    draining: bool = False
    holding: tuple[str, ...] = ()
    providers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> str:
        """Encode as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> WorkerInfo | None:
        """Read a description; None for one that is not readable: it must not hide the others."""
        try:
            values: dict[str, Any] = json.loads(data)
            known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
            for name in ("queues", "holding"):
                known[name] = tuple(known.get(name, ()))
            return cls(**known)
        except (ValueError, TypeError):
            return None


class Workers:
    """The living worker processes by boot id; a dead one's jobs go back to their queues."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts
        self._known: tuple[float, list[WorkerInfo]] = (-math.inf, [])

    # --- the living -------------------------------------------------------------------------

    async def send_heartbeat(self, boot: str) -> tuple[int, dict[str, int]]:
        """Send this worker's heartbeat and read those of all workers in the registry.

        The first value counts the connections that this process has made: it changes whenever
        the connection does. This is a write on purpose: while a server refuses writes nobody's
        heartbeat counts, and nobody may be taken for dead.
        """
        found = iter(await self._scripts.run("heartbeat", (keys.HEARTBEATS,), boot))
        heartbeats = {boot.decode(): int(count) for boot, count in zip(found, found, strict=True)}
        return self._scripts.pipe.connects, heartbeats

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers, as they described themselves last."""
        boots = await self._scripts.call("HKEYS", keys.HEARTBEATS)
        if not boots:
            return []
        found = await self._scripts.call("MGET", *(keys.boot(boot.decode()) for boot in boots))
        workers = (WorkerInfo.decode(data) for data in found if data)
        return [worker for worker in workers if worker is not None]

    async def known(self) -> list[WorkerInfo]:
        """Return the workers that were alive at most `KNOWN_FOR_S` seconds ago."""
        at, workers = self._known
        if time.monotonic() - at > KNOWN_FOR_S:
            workers = await self.workers()
            self._known = (time.monotonic(), workers)
        return workers

    async def waiting(self, record: Record) -> Waiting:
        """Return why a job is QUEUED; `Waiting.NOT` where it is not."""
        if record.state is not State.QUEUED:
            return Waiting.NOT
        if not any(record.queue in worker.queues for worker in await self.known()):
            return Waiting.NO_WORKER
        return Waiting.BACK_OFF if record.code else Waiting.IN_LINE

    async def register(self, worker: WorkerInfo) -> None:
        """Send the first heartbeat of a worker, with its description."""
        await self._scripts.run("heartbeat", (keys.HEARTBEATS,), worker.boot)
        await self.describe(worker)

    async def describe(self, worker: WorkerInfo) -> None:
        """Write down what a worker says of itself."""
        await self._scripts.run(
            "describe", (keys.boot(worker.boot),), worker.encode(), DESCRIPTION_TTL_S
        )

    async def leave(self, boot: str) -> None:
        """End a worker cleanly: nobody has to wait until it is found dead."""
        await self.recover_jobs(boot, "its worker was shut down")

    async def drain(self, boot: str | None = None) -> None:
        """Ask one worker, or all, to finish or hand over its jobs and to end.

        A worker that does not hear it goes on; `workers` shows which are ``draining``.
        """
        await self._scripts.call("PUBLISH", keys.DRAIN, boot or "*")

    async def running(self, boot: str) -> set[str]:
        """Return the names of the jobs that a worker owns."""
        return {name.decode() for name in await self._scripts.call("SMEMBERS", keys.running(boot))}

    async def nudged(self, boot: str) -> list[str]:
        """Take the names of this worker's sessions with text that it has not read."""
        names = await self._scripts.call("SPOP", keys.nudged(boot), MAX_NUDGED)
        return [name.decode() for name in names]

    # --- the dead ---------------------------------------------------------------------------

    async def recover_jobs(self, boot: str, reason: str) -> list[str]:
        """Put the jobs of a dead worker back into their queues, and return their names.

        Idempotent, and safe when several workers do it at once.
        """
        names = sorted(await self.running(boot))
        for name in names:
            with skip_on_error(f"recover job {name}"):
                await recover_from_worker(self._scripts, name, boot, reason)
        await self._scripts.call("DEL", keys.worker(boot), keys.nudged(boot), keys.boot(boot))
        await self._scripts.call("HDEL", keys.HEARTBEATS, boot)
        return names

    async def recover_job(self, name: str, boot: str, reason: str) -> str:
        """Put one job of a worker back into its queue; see `lease.recover_from_worker`."""
        return await recover_from_worker(self._scripts, name, boot, reason)
