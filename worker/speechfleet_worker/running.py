"""Starting and ending one worker process: the loop's thread, Celery, signals."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import uvloop
from celery import signals
from celery.exceptions import SecurityWarning

from speechfleet import keys, tracing
from speechfleet.errors import MisconfiguredError, StoreUnavailable
from speechfleet.jobs import Lane
from speechfleet.ledger.connection import heartbeat_client
from speechfleet.message import Hint
from speechfleet.settings import Settings
from speechfleet.store import open_store
from speechfleet_worker.app import make_app
from speechfleet_worker.intake import Intake
from speechfleet_worker.providers import registry
from speechfleet_worker.recovery import Heartbeat, Sweeper
from speechfleet_worker.worker import Worker

log = logging.getLogger(__name__)
T = TypeVar("T")

OPENING_THREADS = 8
"""Of a process that holds sessions: its messages only say that there is something to do."""

COLLECTED = (10_000, 20, 50)
"""Thresholds of Python's garbage collection. Jobs leave few cycles: those of its own start cost
a twentieth of a busy worker's time."""


class LoopThread:
    """The event loop that everything of this process runs on.

    uvloop: a worker's Python is mostly the loop's own, a dozen steps for every chunk.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._started: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._run, name="loop", daemon=True).start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            # Nobody stops it: a model has called sys.exit(). A heartbeat without a loop behind
            # it would keep the jobs of this process from everybody else.
            os._exit(1)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it there and wait for it here."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def start(
        self, coroutine: Coroutine[Any, Any, None], done: Callable[[], object] = lambda: None
    ) -> None:
        """Run it there, and do not wait; ``done`` is called there at its end, however it ends."""
        self.loop.call_soon_threadsafe(self._start, coroutine, done)

    def _start(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], object]) -> None:
        task = self.loop.create_task(coroutine)
        self._started.add(task)
        task.add_done_callback(self._started.discard)
        task.add_done_callback(lambda _: done())


def run(
    settings: Settings,
    boot: str,
    *,
    lanes: Sequence[Lane],
    providers: Sequence[str] | None,
    events: bool,
) -> int:
    """Take jobs until a signal; then drain. Returns the exit status.

    A process that serves sessions serves no other lane: their text must not wait for a slot.
    """
    pinned = Lane.SESSION in lanes
    if pinned and len(lanes) > 1:
        raise MisconfiguredError(
            "--lanes: a worker process serves sessions alone; start another for the other lanes, "
            "or leave --lanes out"
        )
    availability = {name: why.reason for name, why in registry.available(settings).items()}
    ready = _wanted(availability, providers)
    queues = [keys.queue(lane, name) for lane in lanes for name in ready]
    registry.preload(ready, settings)
    loop = LoopThread()
    loop.run(check_store(settings))
    intake = Intake(settings, lanes, ready)
    worker = loop.run(_start(settings, boot, queues, availability, intake))

    def take(hint: Hint, queue: str, done: Callable[[], object]) -> None:
        if pinned:  # a session lasts as long as somebody writes: its message is dealt with now
            done()
            loop.start(worker.take(hint, queue))
        else:
            loop.start(worker.take(hint, queue), done)

    def nudge(name: str) -> None:
        loop.loop.call_soon_threadsafe(worker.nudges.take, name)

    if pinned:
        loop.start(worker.nudges.run())
    heartbeat = _heartbeat(settings, worker)
    heartbeat.start()
    own = [keys.worker(boot)] if pinned else []
    app = make_app(settings, queues + own, take, nudge if pinned else None, events=events)
    # Celery warns of root because of pickle; this app takes nothing but JSON.
    warnings.simplefilter("ignore", SecurityWarning)

    def ready_now(sender: Any, **_: object) -> None:
        intake.changed = lambda: sender.call_soon(consume_what_is_not_full, sender, intake, queues)
        intake.changed()
        gc.freeze()  # what was imported lives as long as the process
        gc.set_threshold(*COLLECTED)
        print(f"ready {boot}", flush=True)  # noqa: T201 # whoever started this waits for it

    def drain(**_: object) -> None:
        threading.Thread(target=_drain, args=(loop, worker, heartbeat), daemon=True).start()

    signals.worker_ready.connect(ready_now, weak=False)
    signals.worker_shutting_down.connect(drain, weak=False)

    celery_worker = app.Worker(
        pool="threads",
        concurrency=OPENING_THREADS if pinned else settings.slots,
        queues=queues + own,
        hostname=f"{boot}@speechfleet",
        without_gossip=True,
        without_mingle=True,
        quiet=True,
        task_events=events,
    )
    celery_worker.start()
    _drain(loop, worker, heartbeat)
    return int(celery_worker.exitcode or 0)


def _wanted(availability: Mapping[str, str], names: Sequence[str] | None) -> list[str]:
    """The providers to take jobs of: those that are ready, or ``names``, which must be."""
    for name in names or ():
        if reason := availability.get(name, "no such provider"):
            raise MisconfiguredError(f"--providers {name}: {reason}")
    ready = [name for name, reason in availability.items() if not reason]
    return ready if names is None else [name for name in ready if name in names]


def consume_what_is_not_full(consumer: Any, intake: Intake, queues: Sequence[str]) -> None:
    """Pause and resume queues; on Celery's own loop.

    It goes by what is so now, not by what changed: Celery keeps no order among its callbacks,
    and a connection that breaks takes some of them along.
    """
    if consumer.task_consumer is None:
        return
    for queue in queues:
        consuming = consumer.task_consumer.consuming_from(queue)
        if consuming and queue in intake.full:
            consumer.cancel_task_queue(queue)
        elif not consuming and queue not in intake.full:
            consumer.add_task_queue(queue)


_draining = threading.Lock()


def _drain(loop: LoopThread, worker: Worker, heartbeat: Heartbeat) -> None:
    """Hand over and exit: Celery's own shutdown would wait for every task, however long.

    The heartbeat goes on until the last job is handed over.
    """
    with _draining:
        status = 0
        try:
            loop.run(worker.drain())
            heartbeat.stop()
            loop.run(worker.process.fleet.leave(worker.boot))
            loop.run(loop.loop.shutdown_asyncgens())  # what the providers' clients close on
        except Exception:
            log.exception("the drain did not complete; other workers will recover the rest")
            status = 1
        tracing.flush()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


async def check_store(settings: Settings) -> None:
    """A store that is set wrongly ends the worker here; one that is away is waited for."""
    store = open_store(settings.required_store)
    try:
        await store.check()
    except StoreUnavailable as error:
        log.warning("the object store is not there yet: %s", error)
    finally:
        await store.close()


async def _start(
    settings: Settings,
    boot: str,
    queues: Sequence[str],
    providers: dict[str, str],
    intake: Intake,
) -> Worker:
    worker = Worker(settings, boot, queues, providers, intake)
    await worker.process.connection.open()
    await worker.process.fleet.register(worker.describe())
    sweeper = asyncio.create_task(Sweeper(worker).run())
    _kept.add(sweeper)
    return worker


def _heartbeat(settings: Settings, worker: Worker) -> Heartbeat:
    script = worker.process.connection.scripts.text("beat")
    return Heartbeat(heartbeat_client(settings), worker.boot, script)


_kept: set[asyncio.Task[None]] = set()
"""The loop itself holds tasks only weakly."""


def run_alone(settings: Settings, boot: str, name: str, sequence: str) -> int:
    """Run one job in this process and nothing else; at SIGTERM it is handed over."""
    loop = LoopThread()
    worker = loop.run(_start(settings, boot, (), {}, Intake(settings, (), ())))
    heartbeat = _heartbeat(settings, worker)
    heartbeat.start()
    signal.signal(
        signal.SIGTERM,
        lambda *_: asyncio.run_coroutine_threadsafe(worker.drain(), loop.loop),
    )
    loop.start(worker.nudges.run())
    loop.run(worker.take(Hint(name, sequence), alone=True))
    loop.run(worker.process.tell_counts())
    heartbeat.stop()
    loop.run(worker.process.fleet.leave(boot))
    return 0
