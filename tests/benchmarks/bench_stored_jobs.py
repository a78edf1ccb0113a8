"""1000 jobs of 10 x (20 ms of waiting + 20 KB of audio) whose audio is stored, in one worker.

    .venv/bin/python -m tests.benchmarks.bench_stored_jobs

Beside it, in the same rounds: a bare Celery task and a task of taskiq that only wait and write the
chunks, and store nothing; each of them with two files written and synced, as a job has them; and,
for a bucket, a loop that does the same with the same requests of bare boto3: a GET of what is not
there, a PUT of the audio and one of a note. The bucket's server is moto: slow, so it gets fewer
jobs. A file system where many files were deleted within minutes is slow to make new ones: leave
such a machine alone for a while first.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory

import redis.asyncio
import uvloop
from taskiq import AsyncBroker, TaskiqMessage
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker

from speechfleet import AsyncClient
from speechfleet.audio import wav
from speechfleet.embedded import EmbeddedFleet
from speechfleet.store.threads import THREADS
from tests.benchmarks.bare_celery import CHUNK, CHUNKS, FOLDER, bare_fleet, store, write_chunks
from tests.benchmarks.bench_throughput import (
    CONCURRENCY,
    JOBS,
    ROUNDS,
    of_bare_task,
    of_speechfleet,
)
from tests.benchmarks.floors import ROOT, Floors, main, stream_keys
from tests.support.moto_server import BUCKET, environment, moto_server, reset

OF_BARE, OF_TASKIQ, OF_BARE_PUTS = 0.9, 0.9, 0.85
IN_BUCKET = 200
"""Jobs of a round."""
TASKIQ_TASK = "bench:speak"
CHUNKS_ONLY, STORED = "taskiq", "taskiq-stored"
"""The roles of taskiq's workers, and the names of their queues."""
REDIS_URL = "SPEECHFLEET_REDIS_URL"
TAGS = ("warm-up", *(f"round-{number}" for number in range(ROUNDS)))


class Done:
    """Tell on stdout each time that so many jobs are done."""

    def __init__(self) -> None:
        self._count = 0

    def add(self) -> None:
        self._count += 1
        if self._count % JOBS == 0:
            print("done", flush=True)


# --- the other workers ----------------------------------------------------------------------


def broker(url: str, queue: str) -> AsyncBroker:
    # redis-py's usual time-out would end a broker that waits for messages.
    return ListQueueBroker(url, queue_name=queue, socket_timeout=None)


async def taskiq_worker(role: str) -> None:
    url = os.environ[REDIS_URL]
    client, done, queue = redis.asyncio.Redis.from_url(url), Done(), broker(url, role)
    audio = wav.encode(CHUNK * CHUNKS, 24_000)

    @queue.task(task_name=TASKIQ_TASK)
    async def speak(name: str) -> None:
        await write_chunks(client, name)
        if role == STORED:
            await asyncio.to_thread(store, name, audio)
        done.add()

    queue.is_worker_process = True
    receiving = asyncio.create_task(
        run_receiver_task(queue, max_async_tasks=CONCURRENCY, run_startup=True)
    )
    print("ready", flush=True)
    await receiving


async def bucket_loop() -> None:
    """Speak so many jobs at each line of standard input, as many at once as a worker does."""
    import boto3  # noqa: PLC0415 # in this process alone
    from botocore.config import Config  # noqa: PLC0415 # likewise
    from botocore.exceptions import ClientError  # noqa: PLC0415 # likewise

    client = redis.asyncio.Redis.from_url(os.environ[REDIS_URL])
    bucket = boto3.client("s3", config=Config(max_pool_connections=THREADS))
    places, loop = asyncio.Semaphore(CONCURRENCY), asyncio.get_running_loop()

    def look(name: str) -> None:
        try:
            bucket.get_object(Bucket=BUCKET, Key=f"notes/{name}")
        except ClientError:
            return

    def put(name: str) -> None:
        for key, data in ((f"audio/{name}", CHUNK * CHUNKS), (f"notes/{name}", b"{}")):
            bucket.put_object(Bucket=BUCKET, Key=key, Body=data, IfNoneMatch="*")

    with ThreadPoolExecutor(THREADS) as threads:

        async def speak(name: str) -> None:
            async with places:
                await loop.run_in_executor(threads, look, name)
                await write_chunks(client, name)
                await loop.run_in_executor(threads, put, name)

        print("ready", flush=True)
        while tag := (await asyncio.to_thread(sys.stdin.readline)).strip():
            await asyncio.gather(*(speak(f"{tag}-{number}") for number in range(IN_BUCKET)))
            print("done", flush=True)


@contextmanager
def process(role: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """This script in another role, once it takes jobs."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_stored_jobs", role]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        try:
            yield started
        finally:
            started.kill()


# --- the measurement ------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A fleet without workers, and what its workers need."""

    fleet: EmbeddedFleet
    client: AsyncClient
    environ: dict[str, str]

    @contextmanager
    def worker(self) -> Iterator[None]:
        worker = self.fleet.start_worker("--concurrency", str(CONCURRENCY))
        try:
            yield
        finally:
            worker.stop()


async def timed(stage: Stage, other: subprocess.Popen[str], jobs: int = JOBS) -> float:
    """Jobs a second from now on until the other process says that they are done."""
    assert other.stdout is not None
    began = time.perf_counter()
    async with asyncio.timeout(120):
        await asyncio.to_thread(other.stdout.readline)
    rate = jobs / (time.perf_counter() - began)
    server = stage.client.ledger.connection.redis
    await server.unlink(*await stream_keys(server))
    return rate


async def of_taskiq(stage: Stage, other: subprocess.Popen[str], role: str, tag: str) -> float:
    formatter = broker(stage.environ[REDIS_URL], role).formatter
    names = [f"{role}-{tag}-{number}" for number in range(JOBS)]
    messages = [
        formatter.dumps(
            TaskiqMessage(task_id=name, task_name=TASKIQ_TASK, labels={}, args=[name], kwargs={})
        ).message
        for name in names
    ]
    await stage.client.ledger.connection.redis.lpush(role, *messages)
    return await timed(stage, other)


async def of_bucket_loop(stage: Stage, other: subprocess.Popen[str], tag: str) -> float:
    assert other.stdin is not None
    other.stdin.write(f"{tag}\n")
    other.stdin.flush()
    return await timed(stage, other, IN_BUCKET)


@asynccontextmanager
async def staged(store: str | None = None, **environ: str) -> AsyncIterator[Stage]:
    added = {
        "PYTHONPATH": ROOT,
        "SPEECHFLEET_PROVIDERS": "bench=tests.benchmarks.bench_throughput:Paced",
        "SPEECHFLEET_STREAM_TTL": "3",
        **environ,
    }
    with EmbeddedFleet(workers=0, slots=CONCURRENCY, environ=added) as fleet:
        url = store or fleet.store_url
        async with AsyncClient(redis_url=fleet.redis_url, store=url) as client:
            yield Stage(fleet, client, {**os.environ, **fleet.environ, **environ})


async def of_folder(floors: Floors) -> None:
    bare, stored, ours = list[float](), list[float](), list[float]()
    theirs: dict[str, list[float]] = {CHUNKS_ONLY: [], STORED: []}
    with TemporaryDirectory() as folder:
        async with staged(**{FOLDER: folder}) as stage:
            with (
                bare_fleet("chunks", stage.environ, concurrency=CONCURRENCY, every=JOBS) as chunks,
                bare_fleet("stored", stage.environ, concurrency=CONCURRENCY, every=JOBS) as files,
                process(CHUNKS_ONLY, stage.environ) as taskiq,
                process(STORED, stage.environ) as taskiq_stored,
                stage.worker(),
            ):
                workers = {CHUNKS_ONLY: taskiq, STORED: taskiq_stored}
                for tag in TAGS:
                    bare.append(await of_bare_task(stage.client, chunks, tag))
                    stored.append(await of_bare_task(stage.client, files, tag))
                    for role, worker in workers.items():
                        theirs[role].append(await of_taskiq(stage, worker, role, tag))
                    ours.append(await of_speechfleet(stage.client, tag))
    floors.tell("a bare Celery task", median(bare[1:]), "jobs/s")
    floors.tell("the same, with the audio and a note in two files", median(stored[1:]), "jobs/s")
    floors.tell("its part of the rate without files", ratio(stored, bare), "x")
    floors.tell("a task of taskiq", median(theirs[CHUNKS_ONLY][1:]), "jobs/s")
    files_of_taskiq = ratio(theirs[STORED], theirs[CHUNKS_ONLY])
    floors.tell("its part of that rate with such files", files_of_taskiq, "x")
    floors.tell("speechfleet, objects in a folder", median(ours[1:]), "jobs/s")
    floors.tell("the same, of the bare task's rate with files", ratio(ours, stored), "x")
    floors.at_least("the same, of the bare task's rate", ratio(ours, bare), OF_BARE, "x")
    of_taskiq_stored = ratio(ours, theirs[STORED])
    floors.tell("the same, of taskiq's rate with files", of_taskiq_stored, "x")
    of_taskiq_chunks = ratio(ours, theirs[CHUNKS_ONLY])
    floors.at_least("the same, of taskiq's rate", of_taskiq_chunks, OF_TASKIQ, "x")


async def of_bucket(floors: Floors) -> None:
    bare, ours = list[float](), list[float]()
    with moto_server() as endpoint:
        reset(endpoint)
        store = f"s3://{BUCKET}/bench"
        os.environ.update(environment(endpoint))  # the client of this process, too
        async with staged(store, SPEECHFLEET_STORE=store) as stage:
            with process("bucket", stage.environ) as other, stage.worker():
                for tag in TAGS:
                    bare.append(await of_bucket_loop(stage, other, tag))
                    ours.append(await of_speechfleet(stage.client, tag, IN_BUCKET))
    floors.tell("bare waiting, chunks and puts into a bucket", median(bare[1:]), "jobs/s")
    floors.tell("speechfleet, objects in a bucket", median(ours[1:]), "jobs/s")
    floors.at_least("the same, of the bare puts' rate", ratio(ours, bare), OF_BARE_PUTS, "x")


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios; the first round only warms up."""
    return median(a / b for a, b in zip(ours[1:], theirs[1:], strict=True))


async def measure() -> Floors:
    floors = Floors()
    await of_folder(floors)
    await of_bucket(floors)
    return floors


if __name__ == "__main__":
    match sys.argv[1:]:
        case [role] if role in (CHUNKS_ONLY, STORED):
            uvloop.run(taskiq_worker(role))
        case ["bucket"]:
            uvloop.run(bucket_loop())
        case _:
            sys.exit(main(measure()))
