"""What a large batch under way costs a live job: its first chunk, with and without the batch.

    .venv/bin/python -m tests.benchmarks.bench_lanes

The batch has 100,000 items in line and more of them running than there are slots for it; each
waits for its provider as long as a short sentence takes. Live jobs come in between.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

from speechfleet import AsyncClient, Msg
from speechfleet.audio.buffer import AudioBuffer
from speechfleet.embedded import EmbeddedFleet
from speechfleet.tts import TTSModelBase, TTSResponse
from tests.benchmarks.bench_latency import CHUNK, subscribed
from tests.benchmarks.floors import ROOT, Floors, main, percentiles

JOBS = 150
ITEMS = 100_000
SLOWER = 1.2
SECONDS = 2.0
"""That the provider takes for an item of the batch: a sentence at ten times real time."""


class Provider(TTSModelBase):
    """``instant`` for live jobs, ``sentence`` for the batch."""

    def __init__(self, model_name: str, stream: bool, voice: str) -> None:
        super().__init__(model_name, stream)

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> AsyncGenerator[TTSResponse, None]:
        return self._speak()

    async def _speak(self) -> AsyncGenerator[TTSResponse, None]:
        if self.model_name == "sentence":
            await asyncio.sleep(SECONDS)
        buffer = AudioBuffer()
        for is_last in (False, True):
            buffer.append(CHUNK)
            yield TTSResponse.of(buffer, "audio/pcm;rate=24000", is_last=is_last)


async def live(client: AsyncClient, name: str) -> tuple[float, float]:
    """(p50, p99) of the time to a live job's first chunk, in ms."""
    firsts = [
        await subscribed(client, Msg("live", f"{name}, number {n}.")) for n in range(JOBS + 10)
    ]
    p50, p99 = percentiles(firsts[10:])
    return 1000 * p50, 1000 * p99


async def measure() -> Floors:
    floors = Floors()
    environ = {
        "PYTHONPATH": ROOT,
        "SPEECHFLEET_PROVIDERS": "bench=tests.benchmarks.bench_lanes:Provider",
    }
    with EmbeddedFleet(workers=1, environ=environ, grace=0.0) as fleet:
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            alone = await live(client, "alone")
            items = (Msg("batch", f"Item {n}.") for n in range(ITEMS))
            await client.submit_many(items, model="bench/sentence", lane="batch")
            beside = await live(client, "beside")
            running = sum(worker.running for worker in await client.ledger.workers.workers())
    floors.tell("first chunk of a live job, p50, idle fleet", alone[0], "ms")
    floors.tell("the same, p99", alone[1], "ms")
    floors.tell("items of the batch that run meanwhile", running, "")
    floors.tell("first chunk beside the batch, p50", beside[0], "ms")
    floors.tell("the same, p99", beside[1], "ms")
    floors.at_most("p50 beside the batch, against an idle fleet", beside[0] / alone[0], SLOWER, "")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
