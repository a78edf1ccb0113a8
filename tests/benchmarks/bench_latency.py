"""From submit to the first chunk in a subscriber's hands, on an idle fleet.

    .venv/bin/python -m tests.benchmarks.bench_latency

The model answers at once, so what is measured is all that speechfleet adds. Every text is
new: none comes from the cache. In turn with it, a bare Celery task that writes one chunk to a
stream (`bare_celery`), whose reader waits there already: what the queue costs alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from speechfleet import AsyncClient, Msg
from speechfleet.audio.buffer import AudioBuffer
from speechfleet.embedded import EmbeddedFleet
from speechfleet.ledger.keys import JobKeys
from speechfleet.tts import TTSModelBase, TTSResponse
from tests.benchmarks.bare_celery import BareFleet, bare_fleet
from tests.benchmarks.floors import ROOT, Floors, main, percentiles

JOBS = 400
EVERY = 1 / 20
P50, P99 = 3.0, 8.0
CHUNK = bytes(20_000)


class Instant(TTSModelBase):
    """Two chunks, without any delay."""

    def __init__(self, model_name: str, stream: bool, voice: str) -> None:
        super().__init__(model_name, stream)

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> AsyncGenerator[TTSResponse, None]:
        return self._speak()

    async def _speak(self) -> AsyncGenerator[TTSResponse, None]:
        buffer = AudioBuffer()
        for is_last in (False, True):
            buffer.append(CHUNK)
            yield TTSResponse.of(buffer, "audio/pcm;rate=24000", is_last=is_last)


async def as_users_do(client: AsyncClient, msg: Msg) -> float:
    """Submit, then stream."""
    began = time.perf_counter()
    job = await client.submit(msg, model="bench/instant")
    async with aclosing(job.stream()) as chunks:
        await anext(chunks)
        first = time.perf_counter() - began
        async for _ in chunks:
            pass
    return first


async def subscribed(client: AsyncClient, msg: Msg) -> float:
    """Wait at the stream before there is a job."""
    key = JobKeys(client.namespace, msg.id).stream(1)
    async with client.ledger.streams.subscribe(key) as subscription:
        await asyncio.sleep(EVERY / 2)
        began = time.perf_counter()
        job = await client.submit(msg, model="bench/instant")
        kinds: list[str] = []
        while "audio" not in kinds:
            kinds += [entry.kind for _, entry in await subscription.next(10) if entry]
        first = time.perf_counter() - began
    await job.result(timeout=10)
    return first


async def by_bare_task(client: AsyncClient, bare: BareFleet, name: str) -> float:
    """Send a message, and wait at the stream for the chunk that the task writes."""
    server = client.ledger.connection.redis

    async def read() -> None:
        await server.xread({name: "$"}, block=10_000)

    reading = asyncio.create_task(read())
    await asyncio.sleep(EVERY / 2)
    began = time.perf_counter()
    await bare.send(server, [("", name)])
    await reading
    first = time.perf_counter() - began
    await bare.finished(1)
    return first


async def measure() -> Floors:
    floors = Floors()
    ways = {"at a subscriber who waits": subscribed, "submit(), then stream()": as_users_do}
    environ = {
        "PYTHONPATH": ROOT,
        "SPEECHFLEET_PROVIDERS": "bench=tests.benchmarks.bench_latency:Instant",
    }
    firsts: dict[str, list[float]] = {name: [] for name in ways}
    bare_firsts: list[float] = []
    with EmbeddedFleet(environ=environ) as fleet:
        served = {**os.environ, **fleet.environ}
        with bare_fleet("first", served, concurrency=4) as bare:
            async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
                for number in range(-20, JOBS):
                    for name, way in ways.items():
                        slot = asyncio.create_task(asyncio.sleep(EVERY))
                        msg = Msg("bench", f"Text {number} of those who are {name}.")
                        first = await way(client, msg)
                        if number >= 0:
                            firsts[name].append(1000 * first)
                        await slot
                    first = await by_bare_task(client, bare, f"bare-{number}")
                    if number >= 0:
                        bare_firsts.append(1000 * first)
    for name, milliseconds in firsts.items():
        p50, p99 = percentiles(milliseconds)
        floors.at_most(f"first chunk {name}, p50", p50, P50, "ms")
        floors.at_most(f"first chunk {name}, p99", p99, P99, "ms")
    p50, p99 = percentiles(bare_firsts)
    floors.tell("first chunk of a bare Celery task, p50", p50, "ms")
    floors.tell("first chunk of a bare Celery task, p99", p99, "ms")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
