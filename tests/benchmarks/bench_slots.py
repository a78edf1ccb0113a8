"""Slots used: the part of a worker's time in which its slots have a job, by their limit.

    .venv/bin/python -m tests.benchmarks.bench_slots

Jobs of 0.2 s each wait in line; a slot that stands empty between two of them is lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from statistics import median
from typing import Any

from speechfleet import AsyncClient, Msg
from speechfleet.audio.buffer import AudioBuffer
from speechfleet.embedded import EmbeddedFleet
from speechfleet.lifecycle import State
from speechfleet.request import Lane
from speechfleet.tts import TTSModelBase, TTSResponse
from tests.benchmarks.floors import ROOT, Floors, main

SECONDS = 0.2
ROUNDS = 5
TURNS = 10
"""Jobs for each slot in one round."""
USED = 0.93
CHUNK = bytes(4800)


class Waiting(TTSModelBase):
    """Takes its time, as a short sentence does."""

    def __init__(self, model_name: str, stream: bool, voice: str) -> None:
        super().__init__(model_name, stream)

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> AsyncGenerator[TTSResponse, None]:
        return self._speak()

    async def _speak(self) -> AsyncGenerator[TTSResponse, None]:
        await asyncio.sleep(SECONDS)
        buffer = AudioBuffer()
        buffer.append(CHUNK)
        yield TTSResponse.of(buffer, "audio/pcm;rate=24000", is_last=True)


@dataclass(frozen=True)
class Case:
    """A worker and the limit that its jobs meet."""

    name: str
    limit: int
    lanes: str = "batch"
    concurrency: int = 32
    provider_slots: int = 0


CASES = (
    *(Case(f"concurrency {n}", n, concurrency=n) for n in (1, 2, 8, 32)),
    Case("batch beside live, concurrency 8", 8, "live,batch", 8),
    *(Case(f"a provider with {n} slots", n, "live,batch", provider_slots=n) for n in (1, 2, 4, 8)),
)


async def of_case(case: Case) -> float:
    """Return the part of the slots' time that was used, median of the rounds."""
    environ = {
        "PYTHONPATH": ROOT,
        "SPEECHFLEET_PROVIDERS": "bench=tests.benchmarks.bench_slots:Waiting",
    }
    if case.provider_slots:
        environ["SPEECHFLEET_PROVIDER_SLOTS"] = json.dumps({"bench": case.provider_slots})
    with EmbeddedFleet(workers=0, environ=environ) as fleet:
        fleet.start_worker("--lanes", case.lanes, "--concurrency", str(case.concurrency))
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            await of_round(client, case, "warm-up")
            return median([await of_round(client, case, str(n)) for n in range(ROUNDS)])


async def of_round(client: AsyncClient, case: Case, name: str) -> float:
    """Return the used part, from the first job's end of each slot to the last: whole turns."""
    before, jobs = (await client.counts())[State.SUCCEEDED], case.limit * TURNS
    texts = [Msg("bench", f"Number {number} of {case.name}, {name}.") for number in range(jobs)]

    async def ended(count: int) -> tuple[int, float]:
        while (ends := (await client.counts())[State.SUCCEEDED] - before) < count:
            await asyncio.sleep(0.01)
        return ends, time.perf_counter()

    await client.submit_many(texts, model="bench/waiting", lane=Lane.BATCH)
    first, began = await ended(case.limit)
    last, over = await ended(jobs)
    return (last - first) * SECONDS / case.limit / (over - began)


async def measure() -> Floors:
    floors = Floors()
    for case in CASES:
        floors.at_least(f"slots used: {case.name}", await of_case(case), USED, "x")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
