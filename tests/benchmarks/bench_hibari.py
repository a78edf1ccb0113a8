"""hibari through the fleet: its first chunk, and a corpus beside a plain loop over the library.

    .venv/bin/python -m tests.benchmarks.bench_hibari

The corpus is the beginning of LJSpeech. The plain loop is a pool of as many processes as there
are workers, a text at a time, each written to a file: no queue, no record, no second copy.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from speechfleet import AsyncClient, Msg
from speechfleet.audio import wav
from speechfleet.corpus.corpus import open_corpus
from speechfleet.corpus.item import Item
from speechfleet.embedded import EmbeddedFleet
from speechfleet.ledger.keys import JobKeys
from speechfleet_worker.providers.hibari import library
from tests.benchmarks.floors import Floors, main, percentiles, resident

MODEL = "hibari/heart"
CORPUS = Path(__file__).with_name("ljspeech.csv.gz")
ITEMS, JOBS = 400, 100
CORES = os.cpu_count() or 1
FIRST_MS, OF_PLAIN, WORKER_MB = 60, 0.7, 500
EVERY_S = 0.3
"""Between two jobs whose first chunk is awaited: each finds an idle fleet."""


def texts(count: int) -> list[Item]:
    with open_corpus(str(CORPUS)) as opened:
        return list(itertools.islice(opened.items({"model": MODEL}, 1_000_000), count))


def speak_plainly(task: tuple[str, str, str]) -> float:
    """One text into one file; the seconds of its audio."""
    folder, name, text = task
    pcm = library.engine(library.VOICE).speak(text, 1.0).pcm
    Path(folder, f"{name}.wav").write_bytes(wav.encode(pcm, library.SAMPLE_RATE))
    return len(pcm) / 2 / library.SAMPLE_RATE


def plainly(items: list[Item], floors: Floors) -> float:
    """Items a second."""
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(CORES) as pool,
    ):
        pool.map(speak_plainly, [(folder, f"warm-{n}", "Warm.") for n in range(CORES * 4)], 1)
        began = time.perf_counter()
        tasks = ((folder, item.file_name, item.text) for item in items)
        seconds = sum(pool.imap_unordered(speak_plainly, tasks, chunksize=4))
        took = time.perf_counter() - began
    floors.tell("the plain loop, times real time of a process", seconds / took / CORES, "x")
    return len(items) / took


async def by_fleet(client: AsyncClient, items: list[Item], plain: float, floors: Floors) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = await client.batch(items, out=Path(folder, "out"), model=MODEL).run()
    assert done.succeeded == len(items), done
    rate = done.succeeded / done.took
    floors.at_least(f"the fleet, of the plain loop ({plain:,.1f}/s)", rate / plain, OF_PLAIN, "x")
    floors.tell("hours of audio", done.seconds / 60 / done.took, "a minute")


async def first_chunk(client: AsyncClient, number: int) -> float:
    """Milliseconds from submit to the first audio, at a subscriber who waits."""
    msg = Msg("bench", f"Sentence number {number} is spoken as soon as it is there.")
    key = JobKeys(client.namespace, msg.id).stream(1)
    async with client.ledger.streams.subscribe(key) as subscription:
        await asyncio.sleep(EVERY_S)
        began = time.perf_counter()
        job = await client.submit(msg, model=MODEL)
        kinds: list[str] = []
        while "audio" not in kinds:
            kinds += [entry.kind for _, entry in await subscription.next(10) if entry]
        first = 1000 * (time.perf_counter() - began)
    await job.result(timeout=30)
    return first


async def warm(client: AsyncClient) -> None:
    """Let each worker load the voice."""
    jobs = [await client.submit(f"Warm {n}.", model=MODEL) for n in range(16 * CORES)]
    for job in jobs:
        async with aclosing(job.stream()) as chunks:
            async for _ in chunks:
                pass


async def measure() -> Floors:
    floors = Floors()
    items = texts(ITEMS)
    plain = plainly(items, floors)
    with EmbeddedFleet(workers=CORES, lanes=("live", "batch")) as fleet:
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            await warm(client)
            firsts = [await first_chunk(client, number) for number in range(JOBS)]
            p50, p99 = percentiles(firsts)
            floors.at_most("first chunk at a subscriber who waits, p50", p50, FIRST_MS, "ms")
            floors.tell("first chunk at a subscriber who waits, p99", p99, "ms")
            await by_fleet(client, items, plain, floors)
        memory = max(resident(worker.pid) for worker in fleet.workers)
        floors.at_most("memory of a worker", memory / 1e6, WORKER_MB, "MB")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
