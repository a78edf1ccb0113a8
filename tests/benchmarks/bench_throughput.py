"""1000 jobs of 10 x (20 ms of waiting + 20 KB of audio) in one worker process.

    .venv/bin/python -m tests.benchmarks.bench_throughput

Beside it a bare Celery task (`bare_celery`) that does nothing but this waiting and these XADDs.
What the object store costs is told apart: the floor holds for a worker whose store keeps nothing.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from speechfleet import AsyncClient, Msg
from speechfleet.audio.buffer import AudioBuffer
from speechfleet.embedded import EmbeddedFleet
from speechfleet.errors import ObjectMissing
from speechfleet.ledger import keys
from speechfleet.lifecycle import State
from speechfleet.store.base import NewObject
from speechfleet.store.folder import FolderStore
from speechfleet.tts import TTSModelBase, TTSResponse
from tests.benchmarks.bare_celery import CHUNK, CHUNKS, PAUSE, BareFleet, bare_fleet
from tests.benchmarks.floors import ROOT, Floors, main, stream_keys

JOBS = 1000
ROUNDS = 5
CONCURRENCY = 100
FLOORS = {"memory": 1.0, "events": 0.95}
"""Of the bare task's rate, by the worker's role."""


class Paced(TTSModelBase):
    """A chunk each 20 ms, as a provider's server would send it."""

    def __init__(self, model_name: str, stream: bool, voice: str) -> None:
        super().__init__(model_name, stream)

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> AsyncGenerator[TTSResponse, None]:
        return self._speak()

    async def _speak(self) -> AsyncGenerator[TTSResponse, None]:
        buffer = AudioBuffer()
        for number in range(1, CHUNKS + 1):
            await asyncio.sleep(PAUSE)
            buffer.append(CHUNK)
            is_last = number == CHUNKS
            yield TTSResponse.of(buffer, "audio/pcm;rate=24000", is_last=is_last)


# --- the worker processes -------------------------------------------------------------------


class NullStore(FolderStore):
    """Takes what short jobs store and keeps nothing: no disk, no thread, no memory."""

    def __init__(self) -> None:
        super().__init__(Path("/"))

    async def put_all(self, objects: Sequence[NewObject]) -> list[bool]:
        return [True for _ in objects]

    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        raise ObjectMissing(key)


def worker_in_memory(*options: str) -> int:
    from speechfleet_worker import command_line, context  # noqa: PLC0415 # in the worker alone

    arguments = ["worker", "--concurrency", str(CONCURRENCY), *options]
    store = NullStore()
    with (
        mock.patch.object(context, "open_store", return_value=store),
        mock.patch.object(sys, "argv", arguments),
    ):
        return command_line.main()


@contextmanager
def child(role: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """This script in another role, once it takes jobs."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_throughput", role]
    context = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert context.stdout is not None
        assert context.stdout.readline().startswith("ready")
        yield context
    finally:
        context.kill()
        context.wait()


# --- the measurement ------------------------------------------------------------------------


async def of_bare_task(client: AsyncClient, bare: BareFleet, tag: str) -> float:
    """Jobs a second, from the first message to the last job's end."""
    server = client.ledger.connection.redis
    rate = await bare.run(server, [("", f"{bare.task}-{tag}-{n}") for n in range(JOBS)])
    await server.unlink(*await stream_keys(server))
    return rate


async def of_speechfleet(client: AsyncClient, tag: str, jobs: int = JOBS) -> float:
    texts = [Msg("bench", f"Text {number} of round {tag}.") for number in range(jobs)]
    done = (await client.counts())[State.SUCCEEDED] + jobs
    began = time.perf_counter()
    await client.submit_many(texts, model="bench/paced")
    while (await client.counts())[State.SUCCEEDED] < done:
        await asyncio.sleep(0.02)
    rate = jobs / (time.perf_counter() - began)
    while int(await client.ledger.connection.redis.get(keys.BYTES) or 0):
        await asyncio.sleep(0.1)  # the streams expire
    return rate


async def side_by_side(
    client: AsyncClient, environ: dict[str, str], role: str
) -> tuple[list[float], list[float]]:
    """Return the rates of the bare task and of a worker in this role, round by round."""
    bare, ours = list[float](), list[float]()
    chunks = bare_fleet("chunks", environ, concurrency=CONCURRENCY, every=JOBS)
    with chunks as celery, child(role, environ):
        await of_bare_task(client, celery, f"warm-up {role}")
        await of_speechfleet(client, f"warm-up {role}")
        for round in range(ROUNDS):
            bare.append(await of_bare_task(client, celery, f"{role}-{round}"))
            ours.append(await of_speechfleet(client, f"{role}-{round}"))
    return bare, ours


async def measure() -> Floors:
    floors = Floors()
    folder = list[float]()
    added = {
        "PYTHONPATH": ROOT,
        "SPEECHFLEET_PROVIDERS": "bench=tests.benchmarks.bench_throughput:Paced",
        "SPEECHFLEET_STREAM_TTL": "3",
    }
    with EmbeddedFleet(workers=0, slots=CONCURRENCY, environ=added) as fleet:
        environ = {**os.environ, **fleet.environ}
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            for role, floor in FLOORS.items():
                bare, ours = await side_by_side(client, environ, role)
                ratio = median(our / their for our, their in zip(ours, bare, strict=True))
                floors.tell("a bare Celery task", median(bare), "jobs/s")
                floors.tell(f"speechfleet, objects to nowhere ({role})", median(ours), "jobs/s")
                floors.at_least("the same, of the bare task's rate", ratio, floor, "x")
            worker = fleet.start_worker("--concurrency", str(CONCURRENCY))
            await of_speechfleet(client, "warm-up of the folder")
            for round in range(ROUNDS):
                folder.append(await of_speechfleet(client, f"f{round}"))
            worker.stop()
    floors.tell("speechfleet, objects in a folder", median(folder), "jobs/s")
    return floors


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["memory"]:
            sys.exit(worker_in_memory())
        case ["events"]:
            sys.exit(worker_in_memory("--events"))
        case _:
            sys.exit(main(measure()))
