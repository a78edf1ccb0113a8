"""What becomes of jobs when the object store refuses; and accidents on either kind of store.

moto stands for S3: it looks at no signature, so what credentials may do is not tested here.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest

from speechfleet import AsyncClient, State
from speechfleet.store import layout
from speechfleet_worker.testing.listening import stop_listening
from tests.support.stage import Heard, Hold, gather, opening, sentences, spoken, staged, submit

T = TypeVar("T")
Act = Callable[[], Awaitable[object]]
OUTAGE = {"folder": 4.0, "s3": 30.0}
"""Seconds for which the store refuses: well above the first waits between tries."""


class Door:
    """A way to a TCP server that can be shut: then nobody gets through, and nobody stays."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._passing: dict[asyncio.Task[object], asyncio.StreamWriter] = {}

    async def open(self) -> str:
        """The URL, the same each time."""
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{self._port}"

    async def shut(self) -> None:
        assert self._server is not None
        await stop_listening(self._server)
        passing = dict(self._passing)
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        for back in passing.values():
            back.transport.abort()  # also of a task that was cancelled before it began

    def _enter(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task: asyncio.Task[object] = asyncio.create_task(self._pass(near, back))
        self._passing[task] = back
        task.add_done_callback(self._leave)

    def _leave(self, task: asyncio.Task[object]) -> None:
        del self._passing[task]
        if not task.cancelled():
            task.exception()

    async def _pass(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        writers = [back]
        try:
            far, forth = await asyncio.open_connection(*self._target)
            writers.append(forth)
            await asyncio.gather(_copy(near, forth), _copy(far, back))
        except BaseException:
            for writer in writers:
                writer.transport.abort()
            raise


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The URL of a store of its own; None: the fleet's folder."""
    if request.param == "folder":
        return None
    url: str = request.getfixturevalue("s3_store_url")
    return url


@asynccontextmanager
async def refusing_at_will(
    store: str | None, moto_url: str, folder: Path, patch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Act, Act]]:
    """How to shut and to open the store of the fleet on this folder."""
    if store is None:
        root, away = folder / "data" / "store", folder / "unmounted"
        yield (
            partial(asyncio.to_thread, root.rename, away),
            partial(asyncio.to_thread, away.rename, root),
        )
        return
    parts = urlsplit(moto_url)
    door = Door(str(parts.hostname), int(parts.port or 0))
    patch.setenv("AWS_ENDPOINT_URL_S3", await door.open())
    yield door.shut, door.open
    await door.shut()


@asynccontextmanager
async def off_loop(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """The door is on this loop, and a worker knocks while it starts."""
    entered = await asyncio.to_thread(manager.__enter__)
    try:
        yield entered
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


async def test_jobs_wait_for_a_store_that_refuses(
    store: str | None, moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold what was spoken, and nothing is spoken again."""
    texts = {f"patient-{n}": sentences(f"patient {n}", 8) for n in range(8)}
    lines = [line for said in texts.values() for line in said]
    hold = Hold(tmp_path, opening(7))  # none has ended when the store is shut
    async with (
        refusing_at_will(store, moto_url, tmp_path, monkeypatch) as (shut, open_again),
        off_loop(staged(tmp_path, slots=20, store_url=store)) as stage,
        stage.client() as client,
    ):
        jobs = [
            await submit(client, id, said, pace=0.05, **hold.options) for id, said in texts.items()
        ]
        heard = [asyncio.create_task(Heard().listen(job)) for job in jobs]
        await stage.ledger.until("end", [said[0] for said in texts.values()], len(jobs))
        await shut()
        hold.release()
        await asyncio.sleep(OUTAGE["s3" if store else "folder"])  # the fault itself
        counts = await client.counts()
        assert (counts[State.RUNNING], counts[State.FAILED]) == (8, 0)
        await open_again()
        for job, listener in zip(jobs, await gather(*heard), strict=True):
            assert listener.audio == spoken(texts[job.id])
            status = await job.status()
            assert (status.state, status.attempts) == (State.SUCCEEDED, 0)
            assert (await (await job.result()).read()).endswith(spoken(texts[job.id]))
        assert await stage.ledger.asked(lines) == dict.fromkeys(lines, 1)


async def test_a_worker_that_slept_past_its_lease_writes_nothing(
    store: str | None, tmp_path: Path
) -> None:
    """Not to the stream, not over the winner's object, nor beside it."""
    texts = {"sleeper": sentences("the sleeper", 6), "single": ["One sentence, one segment."]}
    holds = {"sleeper": Hold(tmp_path, opening(5)), "single": Hold(tmp_path)}
    with staged(tmp_path, workers=2, slots=20, store_url=store, supervise=False) as stage:
        async with stage.client() as client:
            jobs = []
            for id, lines in texts.items():
                job = await submit(client, id, lines, pace=0.2, **holds[id].options)
                await stage.ledger.until("start", lines)
                jobs.append(job)
            boots = {(await job.record()).boot for job in jobs}
            asleep = [worker for worker in stage.fleet.workers if worker.boot_id in boots]
            if len(asleep) == 2:
                await stage.off_loop(stage.fleet.start_worker)
            await stage.ledger.until("end", texts["sleeper"])
            for worker in asleep:
                worker.kill(signal.SIGSTOP)
            for hold in holds.values():
                hold.release()
            before: dict[str, object] = {}
            for job in jobs:
                listener = await asyncio.wait_for(Heard().listen(job), 120)
                assert listener.audio == spoken(texts[job.id])
                before[job.id] = await everything_about(client, job.id)
            for worker in asleep:
                worker.kill(signal.SIGCONT)
            for worker in asleep:
                # A clean end comes after all that it still had to say.
                worker.kill(signal.SIGTERM)
                assert await stage.off_loop(worker.wait, 120) == 0
            for job in jobs:
                assert await everything_about(client, job.id) == before[job.id]
                assert (await Heard().listen(job)).audio == spoken(texts[job.id])


async def everything_about(client: AsyncClient, id: str) -> object:
    """Entries of the stream, and what lies in the store: what the record names."""
    record = await client.job(id).record()
    assert record.state is State.SUCCEEDED
    stored = await client.store.list(layout.objects_of("default", id))
    timeline = [layout.timeline_object(record.object)]
    assert stored == [record.object] + timeline * (len(await client.job(id).segments()) > 1)
    audio = await client.store.get(record.object)
    return audio, await client.ledger.jobs.entries("default", id, 1, count=9999), record.fields
