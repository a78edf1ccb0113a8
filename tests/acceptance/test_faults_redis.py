"""What becomes of jobs when Redis is killed, rolled back, cut off, stopped, full, or not ours."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from speechfleet import State
from speechfleet.client import AsyncClient
from speechfleet.embedded import EmbeddedValkey
from speechfleet.embedded.valkey import find_server
from speechfleet.errors import (
    FleetFull,
    FleetUnavailable,
    JobCancelled,
    JobNotFound,
    MisconfiguredError,
    NewerRecord,
    ResultTimeout,
)
from speechfleet.job import AsyncJob
from speechfleet.ledger import keys
from speechfleet.ledger.connection import answers
from speechfleet.segment_store import segment_hash
from speechfleet.settings import Settings
from speechfleet.store import layout
from tests.support.free_ports import free_port
from tests.support.stage import (
    UNSERVED,
    Heard,
    Hold,
    Stage,
    gather,
    opening,
    sentences,
    spoken,
    staged,
    submit,
)


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    """Two workers and a server that nobody but the tests starts again."""
    with staged(module_folder, workers=2, slots=60, supervise=False) as stage:
        yield stage


@dataclass
class Crowd:
    """Jobs that run, each with a listener, and what they speak."""

    texts: dict[str, list[str]]
    jobs: list[AsyncJob]
    heard: list[asyncio.Task[Heard]]
    hold: Hold
    """No job ends before it is released."""

    async def all_heard(self) -> None:
        self.hold.release()
        for id, listener in zip(self.texts, await gather(*self.heard), strict=True):
            assert listener.audio == spoken(self.texts[id]), id

    @property
    def lines(self) -> list[str]:
        return [line for lines in self.texts.values() for line in lines]


@asynccontextmanager
async def crowd(
    stage: Stage, client: AsyncClient, name: str, *, held: int = 11
) -> AsyncIterator[Crowd]:
    """Entered once every job has a segment behind it, and many before it.

    ``held``: the sentence that waits for its release.
    """
    jobs, lines = 20, 12
    texts = {f"{name}-{n}": sentences(f"{name} {n}", lines) for n in range(jobs)}
    hold = Hold(stage.ledger.path.parent, opening(held))
    handles = [
        await submit(client, id, said, pace=0.1, **hold.options) for id, said in texts.items()
    ]
    heard = [asyncio.create_task(Heard().listen(job)) for job in handles]
    try:
        firsts = [said[0] for said in texts.values()]
        await stage.ledger.until("end", firsts, jobs)
        yield Crowd(texts, handles, heard, hold)
    finally:
        hold.release()
        for task in heard:
            task.cancel()
        await asyncio.gather(*heard, return_exceptions=True)


async def is_there(job: AsyncJob) -> bool:
    """Whether the server knows of the job."""
    try:
        await job.record()
    except JobNotFound:
        return False
    return True


def valkey(stage: Stage) -> EmbeddedValkey:
    assert stage.fleet.valkey is not None
    return stage.fleet.valkey


async def test_killed_and_started_again_nothing_is_lost_or_spoken_twice(stage: Stage) -> None:
    """All that was acknowledged is there again.

    Under ``everysec`` a server whose disk is busy holds writes back for up to 2 s, and a kill
    then loses them as a power cut does: that is another test's subject, so no fsync here.
    """
    async with stage.client() as client, crowd(stage, client, "killed") as jobs:
        await client.ledger.connection.redis.config_set("appendfsync", "no")
        valkey(stage).kill()
        await stage.off_loop(valkey(stage).wait, 120)
        await stage.off_loop(valkey(stage).restart)
        await jobs.all_heard()
        calls = await stage.ledger.asked(jobs.lines)
        for job in jobs.jobs:
            status = await job.status()
            assert (status.state, status.losses, status.attempts) == (State.SUCCEEDED, 0, 0)
        assert {line: count for line, count in calls.items() if count > 1} == {}
        assert set(calls) == set(jobs.lines)


async def test_cut_connections_cost_no_call(stage: Stage) -> None:
    async with stage.client() as client, crowd(stage, client, "cut") as jobs:
        await stage.cut("normal", "pubsub", "normal")
        await jobs.all_heard()
        assert set((await stage.ledger.asked(jobs.lines)).values()) == {1}


async def test_a_stopped_server_is_nobodys_death(stage: Stage) -> None:
    async with stage.client() as client, crowd(stage, client, "stopped") as jobs:
        valkey(stage).kill(signal.SIGSTOP)
        await asyncio.sleep(8)  # the fault itself: longer than any lease
        valkey(stage).kill(signal.SIGCONT)
        await jobs.all_heard()
        assert set((await stage.ledger.asked(jobs.lines)).values()) == {1}
        for job in jobs.jobs:
            status = await job.status()
            assert (status.state, status.losses) == (State.SUCCEEDED, 0)


async def test_after_the_loss_of_its_last_second_every_job_ends(
    stage: Stage, tmp_path: Path
) -> None:
    """The append-only file ends where it did a moment ago, as after a loss of power.

    In that moment jobs were submitted, begun, continued, cancelled and finished.
    """
    hold = Hold(tmp_path)
    async with stage.client() as client, crowd(stage, client, "rolled back", held=6) as jobs:
        server = valkey(stage)
        [log] = server.folder.glob("appendonlydir/*.incr.aof")
        doomed = await submit(client, "doomed", ["Soon cancelled."], stall=True)
        early = await submit(client, "early", ["Ends in the lost moment."], **hold.options)
        await stage.ledger.until("start", ["Soon cancelled."])
        await stage.ledger.until("start", ["Ends in the lost moment."])
        size = log.stat().st_size
        hold.release()
        jobs.hold.release()
        late = await submit(client, "late", sentences("the late", 3), pace=0.05)
        unbegun = await submit(client, "unbegun", ["Nobody serves this."], model=UNSERVED)
        await doomed.cancel()
        assert (await Heard().listen(early)).audio == spoken(["Ends in the lost moment."])
        await stage.ledger.until("end", [lines[6] for lines in jobs.texts.values()], 20)
        stored = set(await client.store.list("segments/"))
        asked = await stage.ledger.asked()
        server.kill()
        await stage.off_loop(server.wait, 120)
        with log.open("r+b") as file:
            assert file.seek(0, 2) > size
            file.truncate(size)
        await stage.off_loop(server.restart)

        await jobs.all_heard()
        # Those that ended in the lost moment were heard before it: they run once more.
        await gather(*(job.result(timeout=120) for job in jobs.jobs))
        assert (await Heard().listen(late)).audio == spoken(sentences("the late", 3))
        assert (await early.result(timeout=120)).size
        async with asyncio.timeout(120):
            while not await is_there(unbegun):  # whoever waits for it submits it again
                with pytest.raises(ResultTimeout):
                    await unbegun.result(timeout=0.2)
        assert (await unbegun.status()).state is State.QUEUED
        # Nobody but its client knew that it was cancelled; it can be cancelled again.
        await doomed.cancel()
        with pytest.raises(JobCancelled):
            await doomed.result(timeout=120)
        for worker in stage.fleet.workers:
            assert await client.ledger.workers.running(worker.boot_id) == set()
        counts = await client.counts()
        assert counts[State.RUNNING] == 0
        again = (await stage.ledger.asked()) - asked
        for text in again:
            request = (await jobs.jobs[0].record()).request
            hash = segment_hash("default", request, text)
            assert layout.segment_object("default", hash) not in stored, text


async def test_a_full_server_takes_nothing_new_and_ends_what_runs(stage: Stage) -> None:
    async with stage.client() as client, crowd(stage, client, "full") as jobs:
        waiting = await submit(client, "waits", ["Waits for room."], model=UNSERVED)
        await client.ledger.connection.redis.config_set("maxmemory", 1)
        try:
            with pytest.raises(FleetFull) as caught:
                await submit(client, "no-room", ["There is no room."])
            assert caught.value.retryable
            await jobs.all_heard()
            assert {(await job.status()).losses for job in jobs.jobs} == {0}
            assert await waiting.cancel()
        finally:
            await client.ledger.connection.redis.config_set("maxmemory", 0)
        later = await submit(client, "room", ["Now there is."])
        assert (await Heard().listen(later)).audio == spoken(["Now there is."])
        assert all(worker.running for worker in stage.fleet.workers)


async def test_a_server_that_refuses_writes_is_waited_for(stage: Stage) -> None:
    """As when its disk is full or a replica is missing: nobody dies of it, nothing is repeated."""
    async with stage.client() as client, crowd(stage, client, "refused") as jobs:
        redis = client.ledger.connection.redis
        await redis.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(FleetUnavailable, match="NOREPLICAS") as caught:
                await submit(client, "refused", ["Not now."])
            assert caught.value.retryable
            await asyncio.sleep(5)  # the fault itself: longer than the silence of a dead worker
        finally:
            await redis.config_set("min-replicas-to-write", 0)
        await jobs.all_heard()
        assert set((await stage.ledger.asked(jobs.lines)).values()) == {1}
        for job in jobs.jobs:
            status = await job.status()
            assert (status.state, status.losses, status.attempts) == (State.SUCCEEDED, 0, 0)
        assert all(worker.running for worker in stage.fleet.workers)
        later = await submit(client, "after-refusals", ["Now it does."])
        assert (await Heard().listen(later)).audio == spoken(["Now it does."])


async def test_a_newer_record_is_left_to_newer_workers(stage: Stage) -> None:
    async with stage.client("newer") as client:
        old = await submit(client, "old", ["Nobody speaks this."], model=UNSERVED)
        new = await submit(client, "new", ["Tomorrow's words."], model=UNSERVED)
        record = (await new.record()).fields
        assert record["queue"] == keys.queue("live", "nobody")
        redis_key = "speechfleet.1:job:newer:new"
        await client.ledger.connection.redis.hset(redis_key, "v", "2")
        for read in (new.record, new.status, new.result):
            with pytest.raises(NewerRecord):
                await read()
        assert [status.id for status in await client.jobs()] == ["old"]
        assert await old.cancel()


async def test_a_wrong_password_says_so(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedValkey(tmp_path, port=port) as server:
        right = server.url
        for wrong in (f"redis://:wrong@127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/0"):
            with pytest.raises(MisconfiguredError, match="password") as caught:
                async with AsyncClient(Settings.load(redis_url=wrong)):
                    pass
            assert "wrong" not in str(caught.value)
        async with AsyncClient(Settings.load(redis_url=right)):
            pass


@pytest.fixture
def cluster_url(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "cluster.sock"
    command = [find_server(), "--port", "0", "--cluster-enabled", "yes", "--dir", str(tmp_path)]
    command += ["--unixsocket", str(path), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        end = time.monotonic() + 60
        while not answers(f"unix://{path}") and time.monotonic() < end:
            pass
        yield f"unix://{path}"
        server.terminate()


async def test_a_cluster_is_refused(cluster_url: str) -> None:
    with pytest.raises(MisconfiguredError, match="Cluster"):
        async with AsyncClient(Settings.load(redis_url=cluster_url)):
            pass


async def test_a_server_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FleetUnavailable):
        async with AsyncClient(Settings.load(redis_url=f"unix://{tmp_path}/none.sock")):
            pass
