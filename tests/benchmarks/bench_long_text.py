"""A text that speaks for three hours: memory of the worker, audio in Valkey, the first chunk.

    .venv/bin/python -m tests.benchmarks.bench_long_text

Beside the first chunk: the same text written into a bare hash of Redis, told of by a message, and
read by whoever waits for that.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing
from statistics import median

import redis.asyncio

from speechfleet import AsyncClient, Msg
from speechfleet.embedded import EmbeddedFleet
from speechfleet.job import AsyncJob
from speechfleet.settings import Settings
from tests.benchmarks.floors import Floors, main, resident

MODEL = "espeak/espeak-ng"
HOURS = 3.0
GROWTH = 64.0
ROUNDS = 60
PAUSE_S = 0.02
"""Until whoever reads is waiting."""
SENTENCE = "Everyone has the right to freedom of thought, and this is sentence number {}. "
SENTENCES = 2200
"""Some five seconds each."""


async def first_chunk(client: AsyncClient, text: str) -> tuple[float, AsyncJob]:
    began = time.perf_counter()
    job = await client.submit(Msg("bench", text), model=MODEL)
    async with aclosing(job.stream(accumulate=False)) as chunks:
        await anext(chunks)
    return 1000 * (time.perf_counter() - began), job


async def through_redis(server: redis.asyncio.Redis, text: str) -> float:
    """Write a text and a message of it; return the milliseconds until a reader has the text."""

    async def read() -> bytes | str | None:
        await server.brpop(["bare-queue"])
        return await server.hget("bare-record", "text")

    reading = asyncio.create_task(read())
    await asyncio.sleep(PAUSE_S)
    began = time.perf_counter()
    await server.hset("bare-record", "text", text)
    await server.lpush("bare-queue", "bare-record")
    assert await reading == text.encode()
    return 1000 * (time.perf_counter() - began)


async def watch(client: AsyncClient, pid: int, ended: asyncio.Event) -> tuple[int, int]:
    """The most that the worker and the streams held."""
    memory = audio = 0
    while not ended.is_set():
        memory = max(memory, resident(pid))
        audio = max(audio, await client.ledger.stream_budget.bytes())
        await asyncio.sleep(0.05)
    return memory, audio


async def measure() -> Floors:
    floors = Floors()
    window = Settings.load().stream_window
    with EmbeddedFleet() as fleet:
        (worker,) = fleet.workers
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            short, long = list[float](), list[float]()
            bare_short, bare_long = list[float](), list[float]()
            server = client.ledger.connection.redis
            body = "".join(SENTENCE.format(number) for number in range(SENTENCES))
            for number in range(ROUNDS):
                opening = f"Round {number} begins here, and it is short. "
                texts = opening + "Yes.", opening + "No. " + body
                for text, firsts, bare in zip(
                    texts, (short, long), (bare_short, bare_long), strict=True
                ):
                    first, job = await first_chunk(client, text)
                    firsts.append(first)
                    await job.cancel()
                    bare.append(await through_redis(server, text))
            for name, firsts in (("a short", short), ("a long", long)):
                floors.tell(f"first chunk of {name} text, p50", median(firsts), "ms")
            later = median(long) - median(short)
            floors.at_most("first chunk of a long text comes later by, p50", later, 1.0, "ms")
            floors.tell("through bare Redis it comes later by, p50",
                        median(bare_long) - median(bare_short), "ms")  # fmt: skip

            while await client.ledger.workers.running(worker.boot_id):
                await asyncio.sleep(0.05)
            before, ended = resident(worker.pid), asyncio.Event()
            audio_before = await client.ledger.stream_budget.bytes()
            watching = asyncio.create_task(watch(client, worker.pid, ended))
            job = await client.submit(Msg("bench", body), model=MODEL, cache=False)
            speech = await job.result(timeout=600)
            ended.set()
            most, audio = await watching
            floors.at_least("hours of speech in one job", speech.duration / 3600, HOURS, "h")
            floors.at_most("the worker grew by", (most - before) / 1e6, GROWTH, "MB")
            kept = (audio - audio_before) / (1 << 20)
            slack = 4.0
            floors.at_most("audio in Valkey", kept, (window >> 20) + slack, "MiB")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
