"""The fleet as a whole, for whoever watches it: its lines, what it offers, what it counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechfleet import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.fleet import Worker


@dataclass(frozen=True)
class Line:
    """One queue. ``waiting``: jobs in line; ``depth``: messages no worker has taken yet;
    ``oldest``: seconds that the first in line has waited, None where nobody waits."""

    queue: str
    lane: str
    provider: str
    waiting: int
    depth: int
    oldest: float | None


@dataclass(frozen=True)
class Overview:
    """A moment of the fleet. ``time``: the server's, Unix seconds; ``delayed``: jobs that wait
    for their next attempt; ``stream_bytes``: audio in all streams; ``beats``: by boot id."""

    time: float
    workers: list[Worker]
    beats: dict[str, int]
    lines: list[Line]
    delayed: int
    running: int
    stream_bytes: int

    @property
    def unfinished(self) -> int:
        """Jobs that are not over: what a fleet should be scaled by."""
        return self.running + self.delayed + sum(line.waiting for line in self.lines)

    @property
    def sessions(self) -> int:
        """A process that serves sessions serves nothing else."""
        lanes = {
            one.boot: {keys.lane_of(queue)[0] for queue in one.queues} for one in self.workers
        }
        return sum(one.running for one in self.workers if lanes[one.boot] == {"session"})


class Telemetry:
    """Looks that cost the same whether ten jobs or a million wait."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def overview(self, workers: Sequence[Worker]) -> Overview:
        call = self._scripts.call
        time, lists, beats, delayed, size = await asyncio.gather(
            call("TIME"),
            call("SMEMBERS", keys.LISTS),
            call("HGETALL", keys.BEATS),
            call("ZCARD", keys.DELAYED),
            call("GET", keys.BYTES),
        )
        now = int(time[0]) + int(time[1]) / 1e6
        lines, running = await asyncio.gather(
            self._lines(sorted(name.decode() for name in lists), now),
            asyncio.gather(*(call("SCARD", keys.running(boot.decode())) for boot in beats)),
        )
        return Overview(
            time=now,
            workers=list(workers),
            beats={boot.decode(): int(count) for boot, count in beats.items()},
            lines=lines,
            delayed=int(delayed),
            running=sum(map(int, running)),
            stream_bytes=int(size or 0),
        )

    async def _lines(self, lists: Sequence[str], now: float) -> list[Line]:
        found = await asyncio.gather(*(self._list(name, now) for name in lists))
        by_queue: dict[str, list[tuple[int, int, float | None]]] = {}
        for name, one in zip(lists, found, strict=True):
            by_queue.setdefault(keys.queue_of(name), []).append(one)
        return [
            Line(
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
        """What a provider can do, as the workers that serve it know."""
        await self._scripts.call("HSET", keys.CATALOGUE, provider, json.dumps(list(models)))

    async def catalogue(self) -> dict[str, list[dict[str, Any]]]:
        """Provider -> its models, of every worker that ever was; `Worker.providers` tells who
        is served now."""
        raw = await self._scripts.call("HGETALL", keys.CATALOGUE)
        return {provider.decode(): json.loads(models) for provider, models in raw.items()}

    # --- what was counted -------------------------------------------------------------------

    async def count(self, counts: Mapping[str, int]) -> None:
        """Add to the sums; see `speechfleet.telemetry`."""
        await asyncio.gather(
            *(
                self._scripts.call("HINCRBY", keys.COUNTS, field, by)
                for field, by in counts.items()
            )
        )

    async def counts(self) -> dict[str, int]:
        raw = await self._scripts.call("HGETALL", keys.COUNTS)
        return {field.decode(): int(count) for field, count in raw.items()}
