"""The fleet as a whole: its queues, the models that it offers, and the sums that it counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.observability.metrics import other_field

OFFER_REMEMBERED_S = 30 * 86400
"""Seconds for which a provider is known after the last worker that served it has gone."""
MOST_COUNTS = 20_000
"""Different sums of counts that Redis keeps."""


@dataclass(frozen=True)
class QueueStatus:
    """A queue and the jobs that wait in it.

    ``waiting``: jobs that wait in it; ``depth``: messages that no worker has taken yet;
    ``oldest``: seconds that the first one has waited, None where none waits.
    """

    queue: str
    lane: str
    provider: str
    waiting: int
    depth: int
    oldest: float | None


@dataclass(frozen=True)
class Overview:
    """The fleet at one moment.

    ``time``: the server's, Unix seconds; ``delayed``: jobs that wait for their next attempt;
    ``stream_bytes``: audio in all streams; ``heartbeats``: heartbeats by boot id.
    """

    time: float
    workers: list[WorkerInfo]
    heartbeats: dict[str, int]
    queues: list[QueueStatus]
    delayed: int
    running: int
    stream_bytes: int

    @property
    def unfinished(self) -> int:
        """Count the jobs that have not ended: a fleet is scaled by it."""
        return self.running + self.delayed + sum(queue.waiting for queue in self.queues)

    @property
    def sessions(self) -> int:
        """Count the open sessions: a process that serves sessions serves nothing else."""
        lanes = {
            worker.boot: {keys.lane_of(queue)[0] for queue in worker.queues}
            for worker in self.workers
        }
        return sum(worker.running for worker in self.workers if lanes[worker.boot] == {"session"})


class FleetOverview:
    """Reads the state of the fleet, at a cost that does not grow with the number of jobs."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def overview(self, workers: Sequence[WorkerInfo]) -> Overview:
        """Look at the whole fleet."""
        call = self._scripts.call
        now, lists, heartbeats, delayed, size = await asyncio.gather(
            self._scripts.time(),
            call("SMEMBERS", keys.LISTS),
            call("HGETALL", keys.HEARTBEATS),
            call("ZCARD", keys.DELAYED),
            call("GET", keys.BYTES),
        )
        queues, running = await asyncio.gather(
            self._queues(sorted(name.decode() for name in lists), now),
            asyncio.gather(*(call("SCARD", keys.running(boot.decode())) for boot in heartbeats)),
        )
        return Overview(
            time=now,
            workers=list(workers),
            heartbeats={boot.decode(): int(count) for boot, count in heartbeats.items()},
            queues=queues,
            delayed=int(delayed),
            running=sum(map(int, running)),
            stream_bytes=int(size or 0),
        )

    async def _queues(self, lists: Sequence[str], now: float) -> list[QueueStatus]:
        found = await asyncio.gather(*(self._list(name, now) for name in lists))
        by_queue: dict[str, list[tuple[int, int, float | None]]] = {}
        for name, part in zip(lists, found, strict=True):
            by_queue.setdefault(keys.queue_of(name), []).append(part)
        return [
            QueueStatus(
                queue,
                *keys.lane_of(queue),
                waiting=sum(waiting for waiting, _, _ in parts),
                depth=sum(depth for _, depth, _ in parts),
                oldest=max((age for _, _, age in parts if age is not None), default=None),
            )
            for queue, parts in by_queue.items()
        ]

    async def _list(self, name: str, now: float) -> tuple[int, int, float | None]:
        call, pending = self._scripts.call, keys.pending(name)
        waiting, depth, first = await asyncio.gather(
            call("ZCARD", pending), call("LLEN", name), call("ZRANGE", pending, 0, 0)
        )
        if not first:
            return int(waiting), int(depth), None
        record = keys.JobKeys.parse(first[0].decode()).record
        since = int(await call("HGET", record, "updated") or 1000 * now)
        return int(waiting), int(depth), max(0.0, now - since / 1000)

    # --- what the workers offer -------------------------------------------------------------

    async def offer(self, provider: str, models: Sequence[Mapping[str, Any]]) -> None:
        """Write down what a provider can do; the fleet remembers it for `OFFER_REMEMBERED_S`."""
        encoded = json.dumps(list(models)) if models else ""
        await self._scripts.run("offer", (keys.CATALOGUE, keys.OFFERED), provider, encoded)

    async def catalogue(self) -> dict[str, list[dict[str, Any]]]:
        """Return the models by provider, of all workers that were ever there.

        `WorkerInfo.providers` lists the providers that live workers serve now.
        """
        raw = await self._scripts.call("HGETALL", keys.CATALOGUE)
        catalogue: dict[str, list[dict[str, Any]]] = {}
        for provider, models in raw.items():
            with skip_on_error(f"read the models of {provider!r}"):
                catalogue[provider.decode()] = json.loads(models)
        return catalogue

    async def offered(self) -> set[str]:
        """Return the providers that a worker has served lately, whether or not one does now."""
        seconds, _ = await self._scripts.call("TIME")
        since = (int(seconds) - OFFER_REMEMBERED_S) * 1000
        names = await self._scripts.call("ZRANGEBYSCORE", keys.OFFERED, since, "+inf")
        return {name.decode() for name in names}

    # --- what was counted -------------------------------------------------------------------

    async def count(self, counts: Mapping[str, int]) -> None:
        """Add to the sums; see `speechfleet.observability.metrics`.

        Beyond `MOST_COUNTS` different fields a new one is added to the field "other": a metric
        that grows with every name that somebody makes up is of no use to anybody.
        """
        if counts:
            triples = ((field, other_field(field), by) for field, by in counts.items())
            arguments = [item for triple in triples for item in triple]
            await self._scripts.run("count", (keys.COUNTS,), MOST_COUNTS, *arguments)

    async def counts(self) -> dict[str, int]:
        """Return the sums that workers have counted."""
        raw = await self._scripts.call("HGETALL", keys.COUNTS)
        counts: dict[str, int] = {}
        for field, count in raw.items():
            with skip_on_error(f"read the count {field!r}"):
                counts[field.decode()] = int(count)
        return counts
