"""Bulk submit: records and messages a second, from one process, without a worker.

.venv/bin/python -m tests.benchmarks.bench_submit
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from speechfleet import AsyncClient, Client, Msg
from speechfleet.embedded import EmbeddedValkey
from speechfleet.lifecycle import State
from tests.benchmarks.floors import Floors, main

MESSAGES = 10_000
ROUNDS = 5
RATE = 10_000
MODEL = "espeak/espeak-ng"
TEXT = "A sentence of a usual length, number {}, as a corpus holds a hundred thousand of."


def messages(name: str) -> list[Msg]:
    return [Msg(name, TEXT.format(number)) for number in range(MESSAGES)]


async def by_async_client(client: AsyncClient) -> float:
    corpus = messages("async")
    began = time.perf_counter()
    await client.submit_many(corpus, model=MODEL, lane="batch")
    return MESSAGES / (time.perf_counter() - began)


def by_client(url: str) -> float:
    with Client(redis_url=url) as client:
        corpus = messages("sync")
        began = time.perf_counter()
        client.submit_many(corpus, model=MODEL, lane="batch")
        return MESSAGES / (time.perf_counter() - began)


async def measure() -> Floors:
    floors = Floors()
    rates: dict[str, list[float]] = {"AsyncClient": [], "Client": []}
    with tempfile.TemporaryDirectory() as folder, EmbeddedValkey(Path(folder)) as valkey:
        async with AsyncClient(redis_url=valkey.url) as client:
            for _ in range(ROUNDS):
                rates["AsyncClient"].append(await by_async_client(client))
                rates["Client"].append(await asyncio.to_thread(by_client, valkey.url))
            counts = await client.counts()
            memory = (await client.ledger.connection.server()).memory_used
    assert counts[State.QUEUED] == 2 * ROUNDS * MESSAGES
    for name, measured in rates.items():
        floors.at_least(f"submitted a second, {name}.submit_many", median(measured), RATE, "jobs")
    floors.tell("memory of a queued job", memory / counts[State.QUEUED], "bytes")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
