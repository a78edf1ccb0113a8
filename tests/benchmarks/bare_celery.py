"""Bare Celery tasks, which stand beside speechfleet in the benchmarks: the least that each costs.

Each does one thing of a job and keeps no promise: no record, no state, no retry, no notice of an
end. The worker has Celery's own pool of threads and the settings of ours; what waits or writes
chunks runs on one loop of uvloop with redis.asyncio.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import redis.asyncio

from speechfleet import espeak_library as library
from speechfleet.audio import wav
from speechfleet.ledger import message
from speechfleet.settings import Settings
from speechfleet_worker.event_loop import LoopThread
from speechfleet_worker.providers.espeak.model import EspeakOptions, EspeakTTSModel
from tests.benchmarks import bench_slots
from tests.benchmarks.floors import ROOT

CHUNKS, PAUSE, CHUNK = 10, 0.02, bytes(20_000)
ESPEAK_VOICE = "en-us"
TIMEOUT_S = 300
NOTE = b'{"object": "audio/of/a/job.wav", "sample_rate": 22050}'
FOLDER = "BARE_CELERY_FOLDER"
"""Where those that store write their files."""

Task = Callable[[str, str], None]
Job = tuple[str, str]
"""A text, and the name of the job."""


def write_durably(folder: str, files: dict[str, bytes]) -> None:
    """Write files so that they survive a power loss, each whole or not at all."""
    for name, data in files.items():
        part = f"{folder}/.{name}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)
        os.replace(part, f"{folder}/{name}")  # noqa: PTH105 # the quicker way
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def store(name: str, audio: bytes) -> None:
    """Store what a job stores, its audio and a note, in the folder of the environment."""
    write_durably(os.environ[FOLDER], {f"{name}.wav": audio, f"{name}.json": NOTE})


async def write_chunks(
    client: redis.asyncio.Redis,
    name: str,
    chunks: int = CHUNKS,
    pause: float = PAUSE,
    chunk: bytes = CHUNK,
) -> None:
    """Wait for each chunk, and write it to the stream ``name``."""
    for number in range(chunks):
        await asyncio.sleep(pause)
        offset = number * len(chunk)
        fields: dict[Any, Any] = {
            "kind": "audio", "offset": offset, "total": offset + len(chunk), "data": chunk,
        }  # fmt: skip
        await client.xadd(name, fields)


def spoken_by_espeak(text: str) -> bytes:
    """Speak a text by espeak-ng into a WAV file; one at a time in a process."""
    parts: list[bytes] = []

    def take(audio: bytes, _: library.Words) -> bool:
        parts.append(audio)
        return True

    library.library().speak(text, ESPEAK_VOICE, EspeakOptions().parameters(), take)
    return wav.encode(b"".join(parts), EspeakTTSModel.capabilities.sample_rate)


class Tasks:
    """The tasks by name. Each is called as ``(text, name of the job)`` in a thread of the pool."""

    def __init__(self, url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url, protocol=2)
        self._loop = LoopThread()
        self._voice = threading.Lock()

    def chunks(self, _: str, name: str) -> None:
        """Wait for ten chunks, and write each to a stream."""
        self._loop.run(write_chunks(self._client, name))

    def stored(self, _: str, name: str) -> None:
        """Do the same, and store the audio and a note, each in a file."""
        self._loop.run(write_chunks(self._client, name))
        store(name, wav.encode(CHUNK * CHUNKS, 24_000))

    def first(self, _: str, name: str) -> None:
        """Write one chunk at once."""
        self._loop.run(write_chunks(self._client, name, 1, 0))

    def waiting(self, _: str, name: str) -> None:
        """Wait as a short sentence does, and write one chunk."""
        self._loop.run(write_chunks(self._client, name, 1, bench_slots.SECONDS, bench_slots.CHUNK))

    def espeak(self, text: str, name: str) -> None:
        """Speak a text by espeak-ng; store the audio and a note."""
        with self._voice:
            audio = spoken_by_espeak(text)
        store(name, audio)


def queue(task: str) -> str:
    """Return the name of a task's queue."""
    return f"bare-{task}"


def serve(task_name: str, concurrency: int, every: int) -> int:
    """Run a worker of one task. It prints ``ready``, and ``done`` after every so many jobs."""
    from speechfleet_worker.celery_app import make_app  # noqa: PLC0415 # in the worker alone

    settings = Settings.load()
    assert settings.redis_url is not None
    task: Task = getattr(Tasks(settings.redis_url.get_secret_value()), task_name)
    done, lock = 0, threading.Lock()

    app = make_app(settings, [queue(task_name)])
    app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True)

    @app.task(name=task_name)  # type: ignore[untyped-decorator]  # celery
    def bare(text: str, name: str) -> None:
        nonlocal done
        task(text, name)
        with lock:
            done += 1
            if done % every == 0:
                os.write(sys.stdout.fileno(), b"done\n")  # whole: others write there, too

    worker = app.Worker(
        pool="threads",
        concurrency=concurrency,
        queues=[queue(task_name)],
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    os.write(sys.stdout.fileno(), b"ready\n")
    worker.start()
    return 0


@dataclass(frozen=True)
class BareFleet:
    """Workers of one bare task, and the pipe on which they tell of jobs that are done."""

    task: str
    every: int
    lines: TextIO

    async def run(self, client: redis.asyncio.Redis, jobs: Sequence[Job]) -> float:
        """Run jobs; return how many were done a second."""
        began = time.perf_counter()
        await self.send(client, jobs)
        await self.finished(len(jobs))
        return len(jobs) / (time.perf_counter() - began)

    async def send(self, client: redis.asyncio.Redis, jobs: Sequence[Job]) -> None:
        """Put the messages of jobs into the queue."""
        messages = [_message(self.task, text, name) for text, name in jobs]
        await client.lpush(queue(self.task) + message.BEHIND, *messages)

    async def finished(self, jobs: int) -> None:
        """Wait until so many more jobs are done."""
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.to_thread(self._read, jobs // self.every)

    def _read(self, count: int) -> None:
        for _ in range(count):
            assert self.lines.readline() == "done\n"


@contextmanager
def bare_fleet(
    task: str, environ: dict[str, str], *, processes: int = 1, concurrency: int, every: int = 1
) -> Iterator[BareFleet]:
    """Run workers of a bare task. ``every``: as in `serve`; 1 where there are several."""
    command = [
        sys.executable, "-m", "tests.benchmarks.bare_celery", task, str(concurrency), str(every),
    ]  # fmt: skip
    receiving, sending = os.pipe()
    with os.fdopen(receiving, encoding="ascii") as lines, ExitStack() as stack:
        for _ in range(processes):
            process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=sending)
            stack.callback(process.wait)
            stack.callback(process.kill)
        os.close(sending)
        for _ in range(processes):
            assert lines.readline() == "ready\n"
        yield BareFleet(task, every, lines)


def _message(task: str, text: str, name: str) -> str:
    filled = (
        message.TEMPLATE.replace("@TASK@", task)
        .replace("@JOB@#@SEQ@", name)
        .replace("@QUEUE@", queue(task))
        .replace("@PRIORITY@", "3")
    )
    return json.dumps({**json.loads(filled), "body": json.dumps([[text, name], {}, {}])})


if __name__ == "__main__":
    name, concurrency, every = sys.argv[1:]
    sys.exit(serve(name, int(concurrency), int(every)))
