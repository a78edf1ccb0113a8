"""Start and end one worker process: prepare it, start its loop, wire Celery, drain."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from celery import signals
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from speechfleet.batch.pricing import unit_prices
from speechfleet.errors import FleetUnavailable, MisconfiguredError, StoreUnavailable
from speechfleet.ledger import keys
from speechfleet.ledger.connection import heartbeat_client
from speechfleet.ledger.message import JobMessage
from speechfleet.observability import tracing
from speechfleet.request import Lane
from speechfleet.settings import Settings
from speechfleet.store import open_store
from speechfleet_worker.celery_app import make_app
from speechfleet_worker.event_loop import LoopThread
from speechfleet_worker.maintenance.heartbeat import Heartbeat
from speechfleet_worker.maintenance.sweeper import Sweeper
from speechfleet_worker.pool import pool_of
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.rehearsal import rehearse
from speechfleet_worker.receiver import MessageReceiver
from speechfleet_worker.slots import Slots
from speechfleet_worker.task_events import JobConsumer
from speechfleet_worker.worker import Worker

log = logging.getLogger(__name__)

GC_THRESHOLDS = (10_000, 20, 50)
"""Objects before a garbage collection, by generation. Jobs leave few reference cycles, and with
Python's own thresholds the collections take a twentieth of a busy worker's time."""
DEAF_AFTER_S = 5.0
"""Commands that go unanswered for so long show that this worker cannot work."""
STORE_CHECK_S = 5.0
"""For which a worker that starts waits for the store."""
HAND_OVER_S = 8.0
"""Seconds that a drain may take beyond the grace time, when Redis is away or refuses."""


@dataclass(frozen=True)
class Assignment:
    """The lanes and providers of one worker process.

    ``availability``: provider -> "" if ready, else why not.
    """

    lanes: tuple[Lane, ...]
    providers: tuple[str, ...]
    availability: Mapping[str, str]

    @property
    def queues(self) -> list[str]:
        return [
            queue
            for lane in self.lanes
            for name in self.providers
            for queue in keys.queues(lane, name)
        ]

    @property
    def serves_sessions(self) -> bool:
        return Lane.SESSION in self.lanes


def run(
    settings: Settings,
    boot: str,
    *,
    lanes: Sequence[Lane],
    providers: Sequence[str] | None,
    events: bool,
) -> NoReturn:
    """Take jobs until a signal, then drain and exit.

    A process that serves sessions serves no other lane: their text must not wait for a slot.
    """
    assignment = prepare(settings, lanes, providers)
    if assignment.serves_sessions:
        settings = with_listeners(settings)
    loop = LoopThread()
    loop.run(check_store(settings))
    slots = Slots(settings, lanes, assignment.providers)
    begin_rehearsal(settings, assignment)
    worker = loop.run(start_worker(settings, boot, assignment, slots))
    if assignment.serves_sessions:
        loop.start(worker.nudges.run())
    heartbeat = start_heartbeat(settings, worker, loop)
    celery_worker = wire_celery(settings, assignment, worker, loop, events=events)

    def drain(**_: object) -> None:
        threading.Thread(target=drain_and_exit, args=(loop, worker, heartbeat)).start()

    signals.worker_shutting_down.connect(drain, weak=False)
    celery_worker.start()
    drain_and_exit(loop, worker, heartbeat, int(celery_worker.exitcode or 0))


def prepare(
    settings: Settings, lanes: Sequence[Lane], providers: Sequence[str] | None
) -> Assignment:
    """Decide what to serve, and import its providers. Raises MisconfiguredError."""
    if Lane.SESSION in lanes and len(lanes) > 1:
        raise MisconfiguredError(
            "--lanes: a worker process serves sessions alone; start another for the other lanes, "
            "or leave --lanes out"
        )
    availability = {name: why.reason for name, why in registry.available(settings).items()}
    ready = _select(availability, providers)
    registry.preload(ready, settings)
    return Assignment(tuple(lanes), tuple(ready), availability)


def begin_rehearsal(settings: Settings, assignment: Assignment) -> None:
    """Make the providers' first calls, beside the first jobs; before sessions, which are heard."""
    rehearsal = threading.Thread(
        target=rehearse, args=(assignment.providers, settings), daemon=True
    )
    rehearsal.start()
    if assignment.serves_sessions:
        rehearsal.join()


def with_listeners(settings: Settings) -> Settings:
    """Return the settings with time-outs for a process whose every job somebody listens to."""
    silence = min(settings.timeouts.silence, settings.session_silence)
    timeouts = settings.timeouts.model_copy(update={"silence": silence})
    return settings.model_copy(update={"timeouts": timeouts})


def _select(availability: Mapping[str, str], names: Sequence[str] | None) -> list[str]:
    """Return the providers that are ready, or those of ``names``, which must be."""
    for name in names or ():
        if reason := availability.get(name, "no such provider"):
            raise MisconfiguredError(f"--providers {name}: {reason}")
    ready = [name for name, reason in availability.items() if not reason]
    return ready if names is None else [name for name in ready if name in names]


async def check_store(settings: Settings) -> None:
    """Raise an error for a store that is set wrongly; only warn of one that is away."""
    store = open_store(settings.required_store)
    try:
        async with asyncio.timeout(STORE_CHECK_S):
            await store.check()
    except StoreUnavailable as error:
        log.warning("the object store is not there yet: %s", error)
    except TimeoutError:
        log.warning("the object store does not answer within %g s; jobs will wait", STORE_CHECK_S)
    finally:
        # Not awaited: it waits for a call that has no answer.
        _background.add(asyncio.create_task(store.close()))


async def start_worker(
    settings: Settings, boot: str, assignment: Assignment, slots: Slots
) -> Worker:
    """Register the worker and start its periodic work; on the loop that it lives on."""
    worker = Worker(settings, boot, assignment.queues, dict(assignment.availability), slots)
    await worker.context.ledger.open()
    await worker.context.ledger.workers.register(worker.describe())
    await worker.context.ledger.webhooks.follow_setting(settings.webhooks)
    await worker.context.ledger.quotas.follow_setting(settings.quotas, unit_prices(settings))
    _background.add(asyncio.create_task(Sweeper(worker).run()))
    return worker


_background: set[asyncio.Task[None]] = set()
"""The loop itself holds tasks only weakly."""


def start_heartbeat(settings: Settings, worker: Worker, loop: LoopThread) -> Heartbeat:
    """Start the thread that sends heartbeats while the worker can work."""
    scripts = worker.context.ledger.connection.scripts

    def works() -> bool:
        return loop.is_busy() or scripts.pipe.deaf_for(loop.loop.time()) < DEAF_AFTER_S

    client = heartbeat_client(settings, f"worker-{worker.boot}")
    heartbeat = Heartbeat(
        client,
        worker.boot,
        scripts.text("heartbeat"),
        sent_at=lambda: worker.context.heartbeat_sent_at,
        works=works,
    )
    heartbeat.start()
    return heartbeat


def wire_celery(
    settings: Settings, assignment: Assignment, worker: Worker, loop: LoopThread, *, events: bool
) -> Any:
    """Make the Celery worker that hands messages to ours."""
    slots, receiver = worker.context.slots, MessageReceiver(worker, loop)

    def ready(sender: Any, **_: object) -> None:
        receiver.consumer = sender
        # Celery announces, at each lost connection, a default that is set explicitly; its start
        # has just made it show such warnings.
        warnings.simplefilter("ignore", CPendingDeprecationWarning)
        gc.freeze()  # what was imported lives as long as the process
        gc.set_threshold(*GC_THRESHOLDS)
        print(f"ready {worker.boot}", flush=True)  # noqa: T201 # whoever started this waits for it

    own_queue = [keys.worker(worker.boot)] if assignment.serves_sessions else []
    queues = [*assignment.queues, *own_queue]
    app = make_app(settings, queues, boot=worker.boot, events=events, is_open=slots.may_take)
    # Celery warns of root because of pickle; this app takes nothing but JSON.
    warnings.simplefilter("ignore", SecurityWarning)
    signals.worker_ready.connect(ready, weak=False)
    return app.Worker(
        pool=pool_of(receiver),
        consumer_cls=JobConsumer,
        concurrency=slots.total,
        queues=queues,
        hostname=f"{worker.boot}@speechfleet",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=not events,  # our own says who lives
        quiet=True,
        task_events=events,
    )


_draining = threading.Lock()


def drain_and_exit(
    loop: LoopThread, worker: Worker, heartbeat: Heartbeat, status: int = 0
) -> NoReturn:
    """Hand over all jobs and exit: Celery's own shutdown would wait for every task, however long.

    The heartbeat goes on until the last job is handed over. When Redis does not answer, the
    process leaves all the same: other workers recover its jobs.
    """
    with _draining:
        try:
            loop.run(_leave(worker, heartbeat))
        except (FleetUnavailable, TimeoutError) as reason:
            log.warning(
                "Redis did not take over this worker's jobs (%s): others recover them",
                str(reason) or "no answer in time",
            )
        except Exception:
            log.exception("the drain did not complete; other workers will recover the rest")
            status = 1
        end_process(status)


def end_process(status: int) -> NoReturn:
    """End the process at once.

    Python's own exit would go on while the event loop and the providers' SDKs still run in daemon
    threads: that can crash the process, and hide its status.
    """
    tracing.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _leave(worker: Worker, heartbeat: Heartbeat) -> None:
    async with asyncio.timeout(worker.context.settings.grace + HAND_OVER_S):
        await worker.drain()
        await asyncio.to_thread(heartbeat.stop)
        await worker.context.ledger.workers.leave(worker.boot)
        # What the providers' clients close on.
        await asyncio.get_running_loop().shutdown_asyncgens()


def run_isolated(settings: Settings, boot: str, name: str, sequence: str) -> int:
    """Run one job in this process and nothing else; at SIGTERM it is handed over."""
    loop = LoopThread()
    nothing = Assignment((), (), {})
    worker = loop.run(start_worker(settings, boot, nothing, Slots(settings, (), ())))
    heartbeat = start_heartbeat(settings, worker, loop)
    signal.signal(
        signal.SIGTERM,
        lambda *_: asyncio.run_coroutine_threadsafe(worker.drain(), loop.loop),
    )
    loop.start(worker.nudges.run())
    loop.run(worker.take_isolated(JobMessage(name, sequence)))
    loop.run(worker.context.tell_counts())
    heartbeat.stop()
    loop.run(worker.context.ledger.workers.leave(boot))
    return 0
