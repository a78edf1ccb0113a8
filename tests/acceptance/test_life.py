"""Cancel, retry, delete, back-off and slots, on a fleet whose workers stay well."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import pytest

from speechfleet import State
from speechfleet.errors import (
    Conflict,
    IllegalTransition,
    JobCancelled,
    JobFailed,
    JobNotFound,
)
from speechfleet.store import layout
from tests.support.stage import Heard, Hold, Stage, gather, sentences, spoken, staged, submit

MAX_ATTEMPTS = 3


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    environ = {"SPEECHFLEET_BACKOFF": "0.05", "SPEECHFLEET_MAX_ATTEMPTS": str(MAX_ATTEMPTS)}
    with staged(module_folder, environ, slots=40) as stage:
        yield stage


async def test_cancelling_closes_the_provider_call_and_ends_the_stream(stage: Stage) -> None:
    lines = sentences("the cancelled", 3)
    async with stage.client() as client:
        job = await submit(client, "cancelled", lines, stall=True)
        stream = job.stream()
        await anext(stream)
        assert await job.cancel("enough") is True
        with pytest.raises(JobCancelled, match="enough"):
            async for _ in stream:
                pass
        await stage.ledger.wait(
            lambda: stage.ledger.calls("closed", lines) == stage.ledger.calls("start", lines),
            why="every call that was begun is closed",
        )
        assert await job.cancel("again") is False
        with pytest.raises(JobCancelled):
            await job.result(timeout=60)


async def test_a_retry_begins_another_epoch_at_once(stage: Stage, tmp_path: Path) -> None:
    """Also while the cancelled execution is still on its way out of the same process."""
    hold = Hold(tmp_path)
    async with stage.client() as client:
        jobs = [
            await submit(client, f"again-{n}", sentences(f"again {n}", 2), **hold.options)
            for n in range(20)
        ]
        for job in jobs:
            await anext(job.stream())
            assert await job.cancel()
            await job.retry()
        hold.release()
        for n, listener in enumerate(await gather(*(Heard().listen(job) for job in jobs))):
            assert listener.audio == spoken(sentences(f"again {n}", 2))
        for job in jobs:
            status = await job.status()
            assert (status.state, status.epoch) == (State.SUCCEEDED, 2)
            assert status.losses == 0, "the cancellation of the first life hit the second"


async def test_the_same_id_is_the_same_job(stage: Stage, tmp_path: Path) -> None:
    lines, hold = sentences("the same", 2), Hold(tmp_path)
    async with stage.client() as client:
        jobs = [await submit(client, "same", lines, **hold.options) for _ in range(3)]
        with pytest.raises(Conflict):
            await submit(client, "same", ["Something else."])
        with pytest.raises(IllegalTransition):
            await jobs[0].retry()
        hold.release()
        for listener in await gather(*(Heard().listen(job) for job in jobs)):
            assert listener.audio == spoken(lines)
        again = await submit(client, "same", lines, **hold.options)
        assert (await again.status()).state is State.SUCCEEDED
        assert set((await stage.ledger.asked(lines)).values()) == {1}


async def test_a_job_deleted_while_it_runs_does_not_come_back(stage: Stage) -> None:
    """Neither by its worker nor by another client that follows it and could submit it again."""
    lines = sentences("the deleted", 4)
    async with stage.client() as client, stage.client() as other:
        job = await submit(client, "deleted", lines, stall=True)
        follower = await submit(other, "deleted", lines, stall=True)
        waiting = asyncio.create_task(follower.result(timeout=60))
        await stage.ledger.until("start", lines)
        await job.delete()
        with pytest.raises((JobCancelled, JobNotFound)):
            await waiting
        with pytest.raises(JobNotFound):
            await follower.result(timeout=60)
        started = await stage.ledger.asked(lines)
        await stage.ledger.wait(lambda: stage.ledger.calls("closed", lines) == started)
        with pytest.raises(JobNotFound):
            await job.status()
        assert await client.store.list(layout.objects_of("default", "deleted")) == []
        anew = await submit(client, "deleted", ["A new one under the old id."])
        assert (await Heard().listen(anew)).audio == spoken(["A new one under the old id."])


async def test_what_failed_is_tried_again_until_it_works(stage: Stage) -> None:
    async with stage.client() as client:
        limited = await submit(client, "limited", ["Twice too fast."], fail="limited", failures=2)
        assert (await Heard().listen(limited)).audio == spoken(["Twice too fast."])
        status = await limited.status()
        assert (status.state, status.attempts) == (State.SUCCEEDED, 2)
        assert (await stage.ledger.asked())["Twice too fast."] == 3


async def test_a_new_segment_starts_the_count_of_attempts_again(stage: Stage) -> None:
    """A long text meets more failures than a job has attempts, never so many in one place."""
    lines = sentences("each sentence fails twice", 6)
    async with stage.client() as client:
        job = await submit(client, "long", lines, fail="unavailable", failures=2)
        assert (await Heard().listen(job)).audio == spoken(lines)
        status = await job.status()
        assert status.state is State.SUCCEEDED
        assert status.attempts > MAX_ATTEMPTS


async def test_after_the_last_attempt_a_job_fails_with_its_last_error(stage: Stage) -> None:
    async with stage.client() as client:
        down = await submit(client, "down", ["Never up."], fail="unavailable")
        rejected = await submit(client, "rejected", ["Never said."], fail="rejected")
        for job, code, attempts in ((down, "provider_unavailable", 3), (rejected, "", 1)):
            with pytest.raises(JobFailed) as caught:
                await Heard().listen(job)
            assert caught.value.code == (code or "request_rejected")
            status = await job.status()
            assert (status.state, status.attempts) == (State.FAILED, attempts)
        assert (await stage.ledger.asked())["Never up."] == 3
        assert (await stage.ledger.asked())["Never said."] == 1
        failed = {status.id for status in await client.jobs(State.FAILED)}
        assert {"down", "rejected"} <= failed


async def test_a_stalled_provider_leaves_room_for_others(tmp_path: Path) -> None:
    """Its slots are full, its line waits; after a cut connection it is consumed again."""
    environ = {"SPEECHFLEET_PROVIDER_SLOTS": json.dumps({"slow": 2})}
    with staged(tmp_path, environ, slots=8) as stage:
        async with stage.client() as client:
            stalled = [
                await submit(client, f"stalled-{n}", [f"Stalled {n}."], stall=True)
                for n in range(6)
            ]
            await stage.ledger.until("start", count=2)
            calm = [
                await submit(client, f"calm-{n}", [f"Calm {n}."], model="calm/paced")
                for n in range(12)
            ]
            await gather(*(job.result() for job in calm))
            assert len(await stage.ledger.asked()) == 12 + 2
            await stage.cut("normal", "pubsub")
            for done in range(6):
                await stage.ledger.until("start", count=12 + min(6, done + 2))
                records = [(job, await job.record()) for job in stalled]
                job = next(job for job, record in records if record.state is State.RUNNING)
                await job.cancel()
            again = await submit(client, "stalled-no-more", ["On we go."])
            assert (await Heard().listen(again)).audio == spoken(["On we go."])


async def test_a_new_connection_brings_no_more_jobs_than_there_are_slots(tmp_path: Path) -> None:
    with staged(tmp_path, slots=2) as stage:
        async with stage.client() as client:
            jobs = [
                await submit(client, f"slot-{n}", [f"Slot {n}."], stall=True) for n in range(7)
            ]
            await stage.ledger.until("start", count=2)
            await stage.cut("normal", "pubsub")
            for done in range(3):
                running = [job for job in jobs if (await job.record()).state is State.RUNNING]
                assert len(running) == 2
                await running[0].cancel()
                await stage.ledger.until("start", count=3 + done)
            for job in jobs:
                await job.cancel()


async def test_batches_fill_every_slot_and_hold_up_no_live_job(tmp_path: Path) -> None:
    with staged(tmp_path, slots=4) as stage:
        async with stage.client() as client:
            for n in range(8):
                await submit(client, f"batch-{n}", [f"Batch {n}."], lane="batch", stall=True)
            await stage.ledger.until("start", count=4)
            live = [await submit(client, f"live-{n}", [f"Live {n}."]) for n in range(4)]
            await gather(*(job.result() for job in live))
            assert len(await stage.ledger.asked()) == 4 + 4
            for status in await client.jobs():
                await client.job(status.id).cancel()


IN_A_ROW = 40


async def test_a_slot_that_is_free_again_is_used_at_once(tmp_path: Path) -> None:
    """Celery's own loop sleeps for a second while no message may come: it has to be woken.

    A machine that does more makes some jobs wait; but not a quarter of them for most of a second.
    """
    with staged(tmp_path, slots=1) as stage:
        async with stage.client() as client:
            jobs = [
                await submit(client, f"one-{n}", [f"One {n}."], pace=0.0) for n in range(IN_A_ROW)
            ]
            await gather(*(job.result() for job in jobs))
            stories = [(await job.record()).history for job in jobs]
    told = [{event: at for at, event, _ in story} for story in stories]
    waits = [
        after["claim"] - before["finish"]
        for before, after in pairwise(sorted(told, key=itemgetter("claim")))
    ]
    assert sorted(waits)[IN_A_ROW // 4] < 700, waits


@pytest.mark.parametrize("url", ["file:///nowhere/at/all", "ftp://x", ""])
def test_a_worker_with_a_wrong_store_says_so_and_ends(redis_url: str, url: str) -> None:
    environ = {"PATH": os.environ["PATH"], "SPEECHFLEET_REDIS_URL": redis_url}
    done = subprocess.run(
        [sys.executable, "-m", "speechfleet_worker"],
        env=environ | ({"SPEECHFLEET_STORE": url} if url else {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "SPEECHFLEET_STORE" in done.stderr or "/nowhere/at/all" in done.stderr
