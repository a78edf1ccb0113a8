"""A whole fleet of real processes, and a ledger of the calls to its provider."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from speechfleet import AsyncClient, Chunk, Msg, Settings
from speechfleet.embedded import EmbeddedFleet
from speechfleet.job import AsyncJob
from speechfleet.record import Record
from tests.support.slow_model import CHUNK, LEDGER, audio

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PROVIDERS = "slow=tests.support.slow_model:SlowModel,calm=tests.support.slow_model:SlowModel"
MODEL = "slow/paced"
AHEAD = len("Sentence number")
"""Letters of the next of `sentences` that show that the one before has ended."""
UNSERVED = "nobody/paced"
"""A model whose jobs stay in line: clients know its provider, and no worker does."""


@dataclass(frozen=True)
class Call:
    """One line of the ledger. ``event``: start, then end or closed, or nothing at all."""

    event: str
    text: str
    pid: int


class Ledger:
    """What the models of all workers told, in order; `wait` returns once it is true."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # Read and write: the pipe does not end while no worker has it open.
        self._pipe = os.open(path, os.O_RDWR)
        self._lines: list[Call] = []
        self._told = threading.Condition(threading.RLock())
        threading.Thread(target=self._read, name="ledger", daemon=True).start()

    def _read(self) -> None:
        rest = b""
        while data := os.read(self._pipe, 65_536):
            *lines, rest = (rest + data).split(b"\n")
            with self._told:
                self._lines += [Call(**json.loads(line)) for line in lines if line]
                self._told.notify_all()
            if b"" in lines:
                return

    def close(self) -> None:
        os.write(self._pipe, b"\n\n")

    @property
    def lines(self) -> list[Call]:
        with self._told:
            return list(self._lines)

    def calls(self, event: str = "start", among: Iterable[str] | None = None) -> Counter[str]:
        """How often each text (of these texts) was asked for."""
        wanted = None if among is None else set(among)
        with self._told:
            return Counter(
                call.text
                for call in self._lines
                if call.event == event and (wanted is None or call.text in wanted)
            )

    async def asked(self, among: Iterable[str] | None = None) -> Counter[str]:
        """The calls that were started, including all that was told before this."""
        mark = Call("mark", uuid.uuid4().hex, 0)
        os.write(self._pipe, json.dumps(asdict(mark)).encode() + b"\n")
        await self.wait(lambda: mark in self._lines)
        return self.calls("start", among)

    async def until(self, event: str, texts: Iterable[str] | None = None, count: int = 1) -> None:
        """Until so many of these texts were started, ended, or closed."""
        texts = None if texts is None else set(texts)
        await self.wait(lambda: len(self.calls(event, texts)) >= count, why=f"{count} {event}")

    async def wait(
        self, true: Callable[[], T], within: float = 120.0, why: object = "the ledger"
    ) -> T:
        """Until it is true of the ledger (looked at with each line)."""

        def look() -> T:
            end = time.monotonic() + within
            with self._told:
                while not (answer := true()):
                    if not self._told.wait(end - time.monotonic()):
                        break
            assert answer, f"not within {within:g} s: {why}"
            return answer

        return await asyncio.to_thread(look)


@dataclass
class Heard:
    """What one listener was given, checked as it came."""

    chunks: list[Chunk] = field(default_factory=list)
    linear: bytes = b""
    rewinds: int = 0

    async def listen(self, job: AsyncJob, **how: Any) -> Heard:
        """To the end; every chunk must continue what came before."""
        async for chunk in job.stream(**how):
            assert not (self.chunks and self.chunks[-1].is_last), "nothing follows the last"
            if chunk.rewound:
                self.rewinds += 1
                self.linear = self.linear[: chunk.offset]
            assert chunk.offset == len(self.linear), "one unbroken stream"
            self.linear += chunk.delta
            assert chunk.total == len(self.linear)
            self.chunks.append(chunk)
        assert self.chunks
        assert self.chunks[-1].is_last
        return self

    @property
    def audio(self) -> bytes:
        """All of it, as the last chunk has it, which is also what the deltas add up to."""
        whole = bytes(self.chunks[-1].audio)
        assert whole == self.linear
        return whole


TAKEN_OVER_S = 60.0
"""Seconds within which a dead worker's work runs again: 3 to 5 where nothing else runs."""


def sentences(name: str, count: int) -> list[str]:
    """So many sentences that no other test speaks."""
    return [f"Sentence number {n} of {name}." for n in range(count)]


def spoken(texts: Sequence[str], chunks: int = 5) -> bytes:
    """What an undisturbed run gives for these segments."""
    return b"".join(audio(text, CHUNK * chunks) for text in texts)


class Hold:
    """Holds the slow model back, before the last chunk of a text, until it is released.

    ``start``: only of texts that begin so.
    """

    def __init__(self, folder: Path, start: str = "") -> None:
        self._path = folder / uuid.uuid4().hex
        self.options = {"held": str(self._path), "held_start": start}

    def release(self) -> None:
        self._path.touch()


def opening(number: int) -> str:
    """How the sentence of this number begins, of every name."""
    return f"Sentence number {number} of "


def handed_on(record: Record) -> bool:
    """Whether a worker gave the job back of its own will."""
    return any(event == "requeue" for _, event, _ in record.history)


@dataclass
class Stage:
    """A fleet, its ledger, and clients that know its provider."""

    fleet: EmbeddedFleet
    ledger: Ledger

    def client(self, namespace: str = "default", **settings: Any) -> AsyncClient:
        return AsyncClient(
            Settings.load(
                redis_url=self.fleet.redis_url,
                store=self.fleet.store_url,
                namespace=namespace,
                providers=f"{PROVIDERS},nobody=that.no:Worker.serves",
                **settings,
            )
        )

    async def cut(self, *kinds: str) -> None:
        """Close every connection of these kinds (normal, pubsub) at the server."""
        async with self.client() as client:
            for kind in kinds:
                await client.ledger.connection.scripts.call("CLIENT", "KILL", "TYPE", kind)

    def client_environ(self) -> dict[str, str]:
        """For a client in a process of its own."""
        return {**os.environ, **self.fleet.environ}

    def enter(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the commands of this process work in a folder, with this fleet and its provider."""
        monkeypatch.chdir(folder)
        for name, value in {**self.fleet.environ, "SPEECHFLEET_PROVIDERS": PROVIDERS}.items():
            monkeypatch.setenv(name, value)

    async def off_loop(self, work: Callable[..., T], *arguments: Any) -> T:
        """What blocks (starting and ending processes) runs beside the loop."""
        return await asyncio.to_thread(work, *arguments)


@contextmanager
def staged(folder: Path, environ: dict[str, str] | None = None, **fleet: Any) -> Iterator[Stage]:
    """A fleet whose workers speak with the slow model; settings by environment."""
    ledger = Ledger(folder / "ledger")
    added = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "SPEECHFLEET_PROVIDERS": PROVIDERS,
        # A slow machine is no pause of the writer, and neither it nor a test that holds a model
        # back is a silence of the provider.
        "SPEECHFLEET_SESSION_PAUSE": "20",
        "SPEECHFLEET_SESSION_SILENCE": "250",
        "SPEECHFLEET_TIMEOUTS__FIRST_AUDIO": "250",
        "SPEECHFLEET_TIMEOUTS__SILENCE": "250",
        LEDGER: str(ledger.path),
        **(environ or {}),
    }
    fleet.setdefault("grace", 5.0)
    try:
        with EmbeddedFleet(folder / "data", environ=added, **fleet) as running:
            try:
                yield Stage(running, ledger)
            finally:
                for log in sorted((folder / "data" / "logs").glob("*.log")):
                    # Shown where a test fails.
                    print(f"--- {log.name}\n{log.read_text()[-8000:]}")  # noqa: T201
    finally:
        ledger.close()


async def submit(client: AsyncClient, id: str, texts: Sequence[str], **order: Any) -> AsyncJob:
    """A job whose segments are these sentences."""
    msg = Msg(name="", content=" ".join(texts), id=id)
    return await client.submit(msg, **{"model": MODEL, **order})


async def gather(*work: Awaitable[T], within: float = 240.0) -> list[T]:
    """All of it, in time."""
    async with asyncio.timeout(within):
        return list(await asyncio.gather(*work))
