"""Worker processes, as Redis sees them: heartbeats, queues, and what a dead one leaves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from speechfleet import keys
from speechfleet.jobs import State
from speechfleet.keys import JobKeys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.lease import recover
from speechfleet.message import Hint

DESCRIPTION_TTL = 30
"""Seconds that a worker's description outlives its last heartbeat."""


@dataclass(frozen=True)
class Worker:
    """What a worker process says of itself with its heartbeat.

    ``boot``: its boot id. ``queues``: what it takes jobs from. ``providers``: name -> "" if
    ready, else why not. ``slots``: jobs at once; ``running``: jobs now; ``holding``: names of
    the jobs whose messages it has taken from their queues.
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
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> Worker:
        values: dict[str, Any] = json.loads(data)
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        for name in ("queues", "holding"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)


@dataclass(frozen=True)
class QueueDepth:
    """``waiting``: messages in line; ``oldest``: sequence number of the first of them."""

    queue: str
    waiting: int


class Fleet:
    """The registry of boots, and the repair of what they leave undone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scripts = connection.scripts

    # --- the living -------------------------------------------------------------------------

    async def beats(self) -> tuple[str, dict[str, int]]:
        """The server's run id, and the heartbeats of every boot that is not buried."""
        info, beats = await asyncio.gather(
            self._scripts.call("INFO", "server"), self._scripts.call("HGETALL", keys.BEATS)
        )
        return str(info["run_id"]), {boot.decode(): int(count) for boot, count in beats.items()}

    async def workers(self) -> list[Worker]:
        """Those that are alive, as they described themselves last."""
        boots = await self._scripts.call("HKEYS", keys.BEATS)
        if not boots:
            return []
        found = await self._scripts.call("MGET", *(keys.boot(boot.decode()) for boot in boots))
        return [Worker.decode(data) for data in found if data]

    async def register(self, worker: Worker) -> None:
        await self._scripts.call("HINCRBY", keys.BEATS, worker.boot, 1)
        await self.describe(worker)

    async def describe(self, worker: Worker) -> None:
        await self._scripts.call(
            "SET", keys.boot(worker.boot), worker.encode(), "EX", DESCRIPTION_TTL
        )

    async def leave(self, boot: str) -> None:
        """A clean end: nobody need wait for this boot's death."""
        await self.bury(boot, "its worker was shut down")

    async def drain(self, boot: str | None = None) -> None:
        """Ask one worker, or all, to finish or hand over its jobs and to end. Only a hint:
        `workers` tells who is ``draining``.
        """
        await self._scripts.call("PUBLISH", keys.DRAIN, boot or "*")

    async def running(self, boot: str) -> set[str]:
        return {name.decode() for name in await self._scripts.call("SMEMBERS", keys.running(boot))}

    async def depths(self) -> list[QueueDepth]:
        lists = await self._scripts.call("SMEMBERS", keys.LISTS)
        depths: dict[str, int] = {}
        for name in sorted(item.decode() for item in lists):
            queue = name.split("\x06")[0]
            depths[queue] = depths.get(queue, 0) + int(await self._scripts.call("LLEN", name))
        return [QueueDepth(queue, waiting) for queue, waiting in depths.items()]

    # --- the dead ---------------------------------------------------------------------------

    async def bury(self, boot: str, reason: str) -> list[str]:
        """Everything that a dead boot held goes back in line; the names of its jobs.

        Idempotent, and safe when several do it at once.
        """
        names = sorted(await self.running(boot))
        for name in names:
            await recover(self._scripts, name, boot, reason)
        await self._scripts.call("DEL", keys.boot(boot))
        await self._scripts.call("HDEL", keys.BEATS, boot)
        return names

    async def recover(self, name: str, boot: str, reason: str) -> str:
        return await recover(self._scripts, name, boot, reason)

    # --- messages ---------------------------------------------------------------------------

    async def popped(self) -> set[Hint]:
        """Jobs that are QUEUED while their message is in no list.

        In each list the sequence grows from the oldest message on, so what is pending with a
        lower one was popped. That holds however long the list is: a backlog is never touched.
        Most of these are in a worker's hands; one that stays so was lost.
        """
        popped: set[Hint] = set()
        for item in await self._scripts.call("SMEMBERS", keys.LISTS):
            name = item.decode()
            oldest = await self._scripts.call("LINDEX", name, -1)
            hint = Hint.decode(oldest) if oldest else None
            below = f"({hint.sequence}" if hint else "+inf"
            found = await self._scripts.call(
                "ZRANGEBYSCORE", keys.pending(name), "-inf", below, "WITHSCORES", "LIMIT", 0, 1000
            )
            popped |= {Hint(job.decode(), str(int(score))) for job, score in _scored(found)}
        return popped

    async def resend(self, hint: Hint) -> bool:
        """Send the message again, if the job still waits for this very one."""
        job = JobKeys.parse(hint.name)
        return bool(await self._scripts.run("resend", (job.record,), job.name, hint.sequence))

    async def due(self, count: int = 200) -> int:
        """Put delayed jobs whose time has come back in line; how many."""
        seconds, micros = await self._scripts.call("TIME")
        now = int(seconds) * 1000 + int(micros) // 1000
        names = await self._scripts.call(
            "ZRANGEBYSCORE", keys.DELAYED, "-inf", now, "LIMIT", 0, count
        )
        sent = [await self.resend(Hint(name.decode(), "0")) for name in names]
        return sum(sent)

    # --- house-keeping ----------------------------------------------------------------------

    async def reclaim(self) -> int:
        """Give back the room of streams that have expired; how many."""
        return int(await self._scripts.run("reclaim", (keys.EXPIRING, keys.BYTES)))

    async def forget(self) -> None:
        """Take records that have expired out of the indexes of ended jobs."""
        before = int((time.time() - self._connection.settings.record_ttl) * 1000)
        cursor = b"0"
        while True:
            cursor, found = await self._scripts.call(
                "SCAN", cursor, "MATCH", keys.indexes(), "COUNT", 1000, "TYPE", "zset"
            )
            for key in found:
                if State(key.decode().rpartition(":")[2]).terminal:
                    await self._scripts.call("ZREMRANGEBYSCORE", key, "-inf", before)
            if int(cursor) == 0:
                return

    async def stream_bytes(self) -> int:
        return int(await self._scripts.call("GET", keys.BYTES) or 0)


def _scored(found: Any) -> list[tuple[bytes, float]]:
    if found and not isinstance(found[0], tuple):
        return list(zip(found[::2], map(float, found[1::2]), strict=True))
    return list(found)
