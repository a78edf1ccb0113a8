"""An idle worker: the commands that it sends to Redis, and its part of a core.

.venv/bin/python -m tests.benchmarks.bench_idle
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import redis.asyncio

from speechfleet.embedded import EmbeddedFleet
from tests.benchmarks.floors import Floors, main

SETTLES_S, SECONDS = 6.0, 20.0
COMMANDS, CPU = 10.0, 0.3


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the threads of a process have used, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


async def commands(client: redis.asyncio.Redis) -> dict[str, int]:
    """Return the commands that clients sent and scripts called, by name."""
    stats: dict[str, Any] = await client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}


async def measure() -> Floors:
    floors = Floors()
    with EmbeddedFleet(workers=1) as fleet:
        (worker,) = fleet.workers
        client = redis.asyncio.Redis.from_url(fleet.redis_url, protocol=2)
        await asyncio.sleep(SETTLES_S)
        before, cpu = await commands(client), cpu_s(worker.pid)
        await asyncio.sleep(SECONDS)
        cpu = 100 * (cpu_s(worker.pid) - cpu) / SECONDS
        rates = {
            name: (count - before.get(name, 0)) / SECONDS
            for name, count in (await commands(client)).items()
        }
        rates.pop("info")
        await client.aclose()
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        if rate:
            floors.tell(f"commands a second: {name}", rate, "")
    floors.at_most("commands a second of an idle worker", sum(rates.values()), COMMANDS, "")
    floors.at_most("its part of a core", cpu, CPU, "%")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
