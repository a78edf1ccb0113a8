"""Celery's own tools see the jobs of a worker that was started with ``--events``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from speechfleet import JobFailed, Settings
from speechfleet_worker.celery_app import make_app
from tests.support.stage import Stage, gather, staged, submit

SLOTS = 3
WITHIN_S = 120.0


class Events:
    """The task events of a fleet, as they come."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._came = threading.Condition()
        self._seen: list[dict[str, Any]] = []
        self.connected = threading.Event()
        self.end: Callable[[], object] = lambda: None

    def receive(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self._add})
            receiver.on_consume_ready = lambda *_, **__: self.connected.set()
            self.end = lambda: setattr(receiver, "should_stop", True)
            receiver.capture(limit=None, timeout=None, wakeup=False)

    def _add(self, event: dict[str, Any]) -> None:
        with self._came:
            self._seen.append(event)
            self._came.notify_all()

    def wait(self, kind: str, text: str) -> None:
        """Wait for an event of a kind with this text."""
        with self._came:
            assert self._came.wait_for(
                lambda: any(event["type"] == kind and text in str(event) for event in self._seen),
                WITHIN_S,
            ), self._seen


@contextmanager
def receiving(app: Celery) -> Iterator[Events]:
    events = Events(app)
    thread = threading.Thread(target=events.receive, daemon=True)
    thread.start()
    assert events.connected.wait(WITHIN_S)
    try:
        yield events
    finally:
        events.end()
        thread.join()


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=0) as stage:
        lanes = ("--lanes", "live", "--concurrency", str(SLOTS))
        stage.fleet.start_worker(*lanes, "--events")
        yield stage


@pytest.fixture(scope="module")
def app(stage: Stage) -> Celery:
    return make_app(Settings.load(redis_url=stage.fleet.redis_url), [], events=True)


async def test_inspect_shows_the_running_jobs_and_the_slots(stage: Stage, app: Celery) -> None:
    inspect = app.control.inspect(timeout=WITHIN_S, limit=1)
    async with stage.client() as client:
        jobs = [await submit(client, f"seen-{n}", [f"Seen {n}."], stall=True) for n in range(4)]
        await stage.ledger.until("start", count=SLOTS)
        (active,) = (await asyncio.to_thread(inspect.active)).values()
        assert len(active) == SLOTS, "the fourth one is in its queue, where others may take it"
        (stats,) = (await asyncio.to_thread(inspect.stats)).values()
        assert stats["pool"]["max-concurrency"] == SLOTS
        await gather(*(job.cancel() for job in jobs))


async def test_each_job_ends_as_a_task_with_its_name(stage: Stage, app: Celery) -> None:
    async with stage.client() as client:
        with receiving(app) as events:
            good = await submit(client, "good", ["A good one."])
            await good.result(WITHIN_S)
            await asyncio.to_thread(events.wait, "task-succeeded", "default/good: succeeded")
            bad = await submit(client, "bad", ["A bad one."], fail="rejected")
            with pytest.raises(JobFailed):
                await bad.result(WITHIN_S)
            await asyncio.to_thread(events.wait, "task-failed", "default/bad: ")
