"""A corpus by espeak on the embedded fleet, beside a plain loop over the same espeak and WAV code.

    .venv/bin/python -m tests.benchmarks.bench_corpus                  (2,000 lines, a minute)
    .venv/bin/python -m tests.benchmarks.bench_corpus --items 13100    (all of LJSpeech)
    .venv/bin/python -m tests.benchmarks.bench_corpus --submits 1000000

The texts are those of LJSpeech (https://keithito.com/LJ-Speech-Dataset/, public domain), or any
other corpus that ``--corpus`` names. The plain loop is a pool of as many processes as there are
workers, a text at a time, each written to a file: no queue, no record, no second copy. Beside both
stands a bare Celery task that speaks a text and stores it as a job does (`bare_celery`).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import redis

from speechfleet import AsyncClient
from speechfleet.chunks import Finished
from speechfleet.corpus.corpus import open_corpus
from speechfleet.corpus.item import Item
from speechfleet.embedded import EmbeddedFleet, EmbeddedValkey
from speechfleet.ledger import Lease, keys
from speechfleet.ledger.batch_keys import BatchKeys
from speechfleet.ledger.keys import JobKeys
from speechfleet.lifecycle import State
from speechfleet.request import Lane
from tests.benchmarks.bare_celery import ESPEAK_VOICE, FOLDER, bare_fleet, spoken_by_espeak
from tests.benchmarks.floors import Floors, main, resident

CORPUS = Path(__file__).with_name("ljspeech.csv.gz")
ORDER: dict[str, Any] = {"model": "espeak/espeak-ng", "voice": ESPEAK_VOICE}
CORES = os.cpu_count() or 1
AT_ONCE = 4
"""Jobs that a bare worker has at once: one speaks, others are stored."""
PEAK_MB, RESUME, OF_PLAIN = 512, 15, 0.7
SUBMITS, GROWTH_MB, FIRST = 20_000, 50, 10_000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.bench_corpus")
    parser.add_argument("--corpus", default=str(CORPUS))
    parser.add_argument("--items", type=int, default=2_000, help="of the corpus; 0: none")
    parser.add_argument("--submits", type=int, default=100_000, help="0: none")
    return parser.parse_args()


def texts(corpus: str, count: int) -> list[Item]:
    with open_corpus(corpus) as opened:
        return list(itertools.islice(opened.items(ORDER, 1_000_000), count))


# --- the plain loop -------------------------------------------------------------------------


def speak_plainly(task: tuple[str, str, str]) -> None:
    """Speak a text into a file."""
    folder, name, text = task
    Path(folder, f"{name}.wav").write_bytes(spoken_by_espeak(text))


def plainly(items: list[Item], folder: str) -> float:
    """Items a second."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(CORES) as pool:
        warm = [(folder, f"warm-{n}", "Warm.") for n in range(CORES * 4)]
        pool.map(speak_plainly, warm, chunksize=1)
        began = time.perf_counter()
        tasks = ((folder, item.file_name, item.text) for item in items)
        for _ in pool.imap_unordered(speak_plainly, tasks, chunksize=8):
            pass
        return len(items) / (time.perf_counter() - began)


async def by_bare_task(items: list[Item], folder: str) -> float:
    """Items a second, by as many workers."""
    with EmbeddedFleet(workers=0) as fleet:
        environ = {**os.environ, **fleet.environ, FOLDER: folder}
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            server = client.ledger.connection.redis
            with bare_fleet("espeak", environ, processes=CORES, concurrency=AT_ONCE) as bare:
                await bare.run(server, [("Warm.", f"warm-{n}") for n in range(CORES * 4)])
                return await bare.run(server, [(i.text, i.file_name) for i in items])


# --- the fleet ------------------------------------------------------------------------------


async def by_fleet(floors: Floors, items: list[Item], plain: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedFleet(Path(folder, "data"), workers=CORES, lanes=("live", "batch")) as fleet,
    ):
        out = Path(folder, "out")
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            await client.batch([Item("warm", "Warm.")], **ORDER).run()
            batch = client.batch(items, out=out, **ORDER)
            done = await batch.run()
            assert done.succeeded == len(items), done
            with redis.Redis.from_url(fleet.redis_url) as server:
                peak = int(server.info("memory")["used_memory_peak"])
            rate = done.succeeded / done.took
            floors.at_least(f"the fleet, of the plain loop ({plain:,.0f}/s)", rate / plain,
                            OF_PLAIN, "x")  # fmt: skip
            floors.tell("items", rate, "a second")
            floors.tell("hours of audio", done.seconds / 60 / done.took, "a minute")
            floors.at_most("memory of Valkey at its peak", peak / 1e6, PEAK_MB, "MB")
            again = await client.batch(items, out=out, **ORDER).run()
            assert again.skipped == len(items)
            floors.at_most(f"run again, {len(items):,} items", again.took, RESUME, "s")


# --- bulk submit ----------------------------------------------------------------------------


def sentences(count: int) -> Iterator[Item]:
    for number in range(count):
        yield Item(f"{number}", f"A sentence of a usual length, number {number}, of many.")


async def by_submit(floors: Floors, count: int) -> None:
    """Without a worker, and with a window that lets all of them stand in line."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedValkey(Path(folder)) as valkey:
        async with AsyncClient(redis_url=valkey.url, store=Path(folder).as_uri()) as client:
            began = time.perf_counter()
            batch = client.batch(sentences(count), window=count + 1, **ORDER)
            running = asyncio.create_task(batch.run())
            while (await client.counts())[State.QUEUED] < count and not running.done():
                await asyncio.sleep(0.05)
            took = time.perf_counter() - began
            floors.at_least(f"submitted, {count:,} items", count / took, SUBMITS, "items/s")
            running.cancel()
            await asyncio.wait([running])


async def by_growth(floors: Floors, count: int) -> None:
    """The whole of a batch, whose items end as if a worker had spoken them."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedValkey(Path(folder)) as valkey:
        async with AsyncClient(redis_url=valkey.url, store=Path(folder).as_uri()) as client:
            batch = client.batch(sentences(count), **ORDER)
            ending = asyncio.create_task(end_all(client, batch.id))
            ended, early, began = 0, 0, time.perf_counter()
            async with aclosing(batch.results()) as entries:
                async for _ in entries:
                    ended += 1
                    early = resident(os.getpid()) if ended == FIRST else early
            grown = (resident(os.getpid()) - early) / 1e6
            floors.tell("the whole way of an item, without speech",
                        count / (time.perf_counter() - began), "a second")  # fmt: skip
            floors.at_most(
                f"client grown from {FIRST:,} to {count:,} items", grown, GROWTH_MB, "MB"
            )
            ending.cancel()
            await asyncio.wait([ending])


async def end_all(client: AsyncClient, batch: str) -> None:
    """Claim and finish whatever is under way, as fast as that goes."""
    scripts, numbers = client.ledger.connection.scripts, itertools.count()
    finished = Finished(0, 0, "audio/x.wav", "audio/wav", "{}")

    async def end(name: bytes) -> None:
        job = JobKeys.parse(name.decode())
        lease = Lease(scripts, job, f"bench:{next(numbers)}", "bench")
        await lease.claim()
        await lease.finish(finished, size=140, rate=24_000)

    while True:
        names = await scripts.call("SRANDMEMBER", BatchKeys(client.namespace, batch).items, 500)
        await asyncio.gather(*map(end, names))
        # Nobody takes the messages.
        await scripts.call("UNLINK", keys.queue(Lane.BATCH, "espeak"))


async def measure(arguments: argparse.Namespace) -> Floors:
    floors = Floors()
    if arguments.items:
        items = texts(arguments.corpus, arguments.items)
        # Its files stay: some file systems are slow to make new ones after many were deleted.
        with tempfile.TemporaryDirectory() as folder:
            plain = plainly(items, folder)
            bare = await by_bare_task(items, folder)
            floors.tell("a bare Celery task, of the plain loop", bare / plain, "x")
            await by_fleet(floors, items, plain)
    if arguments.submits:
        await by_growth(floors, max(2 * FIRST, arguments.submits))
        await by_submit(floors, arguments.submits)
    return floors


if __name__ == "__main__":
    sys.exit(main(measure(parse())))
