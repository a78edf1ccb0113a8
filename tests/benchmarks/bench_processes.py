"""One worker process and four of them, with a provider that only waits: how it grows.

    .venv/bin/python -m tests.benchmarks.bench_processes

Beside it a bare Celery task that waits as long (`bare_celery`), from one process to four. At the
end of a round some worker still speaks, or holds ready, the last jobs: that takes up to one job's
time, so a round has many turns.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from statistics import median

from speechfleet import AsyncClient, Msg
from speechfleet.embedded import EmbeddedFleet
from speechfleet.lifecycle import State
from speechfleet.request import Lane
from tests.benchmarks.bare_celery import bare_fleet
from tests.benchmarks.floors import ROOT, Floors, main

PROCESSES, SLOTS, TURNS, ROUNDS = 4, 4, 36, 5
OF_LINEAR = 0.95
PROVIDERS = "bench=tests.benchmarks.bench_slots:Waiting"


async def of_processes(count: int) -> list[float]:
    """Return the jobs a second of each round, from the first full turn on."""
    environ = {"PYTHONPATH": ROOT, "SPEECHFLEET_PROVIDERS": PROVIDERS}
    with EmbeddedFleet(workers=0, environ=environ) as fleet:
        for _ in range(count):
            fleet.start_worker("--lanes", "batch", "--concurrency", str(SLOTS))
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            rounds = [await of_round(client, count, f"round {n}") for n in range(ROUNDS + 1)]
    return rounds[1:]


async def of_bare_tasks(count: int) -> float:
    """Return the jobs a second of a bare Celery task, the median of the rounds."""
    with EmbeddedFleet(workers=0) as fleet:
        environ = {**os.environ, **fleet.environ}
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            server = client.ledger.connection.redis
            with bare_fleet("waiting", environ, processes=count, concurrency=SLOTS) as bare:
                jobs = [("", f"job-{n}") for n in range(count * SLOTS * TURNS)]
                rounds = [await bare.run(server, jobs) for _ in range(ROUNDS + 1)]
    return median(rounds[1:])


async def of_round(client: AsyncClient, count: int, name: str) -> float:
    turn = count * SLOTS
    before = (await client.counts())[State.SUCCEEDED]
    texts = [
        Msg("bench", f"Number {number} by {count}, {name}.") for number in range(turn * TURNS)
    ]

    async def ended(wanted: int) -> tuple[int, float]:
        while (ends := (await client.counts())[State.SUCCEEDED] - before) < wanted:
            await asyncio.sleep(0.01)
        return ends, time.perf_counter()

    await client.submit_many(texts, model="bench/waiting", lane=Lane.BATCH)
    first, began = await ended(turn)
    last, over = await ended(len(texts))
    return (last - first) / (over - began)


async def measure() -> Floors:
    floors = Floors()
    one, four = median(await of_processes(1)), median(await of_processes(PROCESSES))
    bare, bare_four = await of_bare_tasks(1), await of_bare_tasks(PROCESSES)
    floors.tell("a bare Celery task, of four times one", bare_four / bare / PROCESSES, "x")
    floors.tell("one worker process", one, "jobs/s")
    floors.tell("four worker processes", four, "jobs/s")
    floors.at_least("the same, of four times one", four / one / PROCESSES, OF_LINEAR, "x")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
