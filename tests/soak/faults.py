"""The faults of the soak: each breaks one thing for a few seconds, and repairs it."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import redis.asyncio

from tests.soak.stage import LOADING_S, FailingOver, OneServer, SoakStage
from tests.soak.starting import start_worker
from tests.soak.workers_clock import NOTICED_WITHIN_S

log = logging.getLogger(__name__)

Fault = Callable[[random.Random], Awaitable[None]]
BETWEEN_S = (1.0, 4.0)
"""Seconds of peace between two faults."""


async def worker_killed(stage: SoakStage, random: random.Random) -> None:
    stage.end((await stage.any_worker(random)).pid, signal.SIGKILL)


async def worker_suspended(stage: SoakStage, random: random.Random) -> None:
    worker = await stage.any_worker(random)
    worker.kill(signal.SIGSTOP)
    await asyncio.sleep(random.uniform(1.0, 6.0))
    worker.kill(signal.SIGCONT)


async def worker_drained(stage: SoakStage, random: random.Random) -> None:
    """Ask a worker to hand over and leave; another takes its place, meanwhile."""
    worker = await stage.any_worker(random)
    stage.end(worker.pid, signal.SIGTERM)
    starting = asyncio.to_thread(start_worker, stage.fleet, *worker.args)
    stage.starting.append(asyncio.create_task(starting))


async def redis_killed(stage: OneServer, random: random.Random) -> None:
    stage.end(stage.valkey.pid, signal.SIGKILL)
    await asyncio.to_thread(stage.valkey.wait, 10)
    await asyncio.sleep(random.uniform(0.0, 2.0))
    await asyncio.to_thread(stage.valkey.start, LOADING_S)


async def redis_suspended(stage: OneServer, random: random.Random) -> None:
    stage.valkey.kill(signal.SIGSTOP)
    await asyncio.sleep(random.uniform(0.5, 4.0))
    stage.valkey.kill(signal.SIGCONT)


async def redis_full(stage: OneServer, random: random.Random) -> None:
    async with stage.server() as client:
        await client.config_set("maxmemory", 1)
        await asyncio.sleep(random.uniform(0.5, 3.0))
        await client.config_set("maxmemory", 0)


async def redis_cannot_save(stage: OneServer, random: random.Random) -> None:
    """Make every write a MISCONF, as a full disk under the snapshot does."""
    blocked = stage.valkey.folder / "dump.rdb"
    with suppress(FileNotFoundError, IsADirectoryError):
        blocked.unlink()
    blocked.mkdir(exist_ok=True)
    async with stage.server() as client:
        await client.config_set("save", "3600 1")
        await client.bgsave()
        await asyncio.sleep(random.uniform(1.0, 4.0))
        await client.config_set("save", "")
    blocked.rmdir()


async def redis_read_only(stage: OneServer, random: random.Random) -> None:
    """Make it a replica of nobody, as a demoted primary is for a while."""
    async with stage.server() as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
        await asyncio.sleep(random.uniform(0.5, 3.0))
        await client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]


async def clients_cut(stage: OneServer, random: random.Random) -> None:
    stage.for_clients.cut()


async def workers_cut(stage: OneServer, random: random.Random) -> None:
    stage.for_workers.cut()


async def clients_half_open(stage: OneServer, random: random.Random) -> None:
    stage.for_clients.silence()


async def clients_stalled(stage: OneServer, random: random.Random) -> None:
    stage.for_clients.stall()
    await asyncio.sleep(random.uniform(0.5, 4.0))
    stage.for_clients.flow()


async def workers_refused(stage: OneServer, random: random.Random) -> None:
    stage.for_workers.refusing = True
    stage.for_workers.cut()
    await asyncio.sleep(random.uniform(0.5, 4.0))
    stage.for_workers.refusing = False


async def store_cut(stage: SoakStage, random: random.Random) -> None:
    """Cut every request under way; a folder has none, so it is taken away instead."""
    if stage.for_store is None:
        await store_away(stage, random)
    else:
        stage.for_store.cut()


async def store_away(stage: SoakStage, random: random.Random) -> None:
    """Make the store unreachable for a while."""
    if stage.for_store is not None:
        stage.for_store.refusing = True
        stage.for_store.cut()
        await asyncio.sleep(random.uniform(0.5, 4.0))
        stage.for_store.refusing = False
        return
    disk = stage.folder / "disk"
    folder, away = disk / "store", disk / "store-away"
    folder.rename(away)
    await asyncio.sleep(random.uniform(0.2, 1.5))
    # A worker may have made the folder anew; what it wrote there belongs into the store.
    if folder.exists():
        for path in sorted(folder.rglob("*")):
            target = away / path.relative_to(folder)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir()
        folder.rmdir()
    away.rename(folder)


async def store_slow(stage: SoakStage, random: random.Random) -> None:
    assert stage.for_store is not None
    stage.for_store.stall()
    await asyncio.sleep(random.uniform(0.5, 4.0))
    stage.for_store.flow()


async def store_half_open(stage: SoakStage, random: random.Random) -> None:
    """Make the connections to S3 deaf for ever; those that are made later work."""
    assert stage.for_store is not None
    stage.for_store.silence()


async def store_disk_full(stage: SoakStage, random: random.Random) -> None:
    assert stage.store_folder is not None
    await asyncio.to_thread(stage.store_folder.fill)
    await asyncio.sleep(random.uniform(0.5, 4.0))
    await asyncio.to_thread(stage.store_folder.free)


async def workers_clock_wrong(stage: SoakStage, random: random.Random) -> None:
    """Step the workers' wall clock by up to a day, and back."""
    assert stage.clock is not None
    stage.clock.set_ahead(random.choice([-86_400, -3600, -20, 20, 3600, 86_400]))
    await asyncio.sleep(NOTICED_WITHIN_S + random.uniform(2.0, 6.0))
    stage.clock.set_ahead(0)


async def _until(client: redis.asyncio.Redis, field: str, value: str | int) -> None:
    """Wait until the server says this of its append-only file."""
    async with asyncio.timeout(30):
        while True:
            if (await client.info("persistence"))[field] == value:
                return
            await asyncio.sleep(0.05)


async def redis_disk_full(stage: OneServer, random: random.Random) -> None:
    """Leave no room under the append-only file.

    Valkey 9.1.2 spoils the file then; that ours is written anew has to be waited for, since no
    server can lose its memory right after a full disk and have it.
    """
    async with stage.server() as client:
        await asyncio.to_thread(stage.server_disk.fill)
        await asyncio.sleep(random.uniform(1.0, 4.0))
        await asyncio.to_thread(stage.server_disk.free)
        await _until(client, "aof_last_write_status", "ok")
    await asyncio.to_thread(stage.valkey.await_whole_file, LOADING_S)


async def workers_half_open(stage: OneServer, random: random.Random) -> None:
    stage.for_workers.silence()


async def primary_killed(stage: FailingOver, random: random.Random) -> None:
    lost = stage.servers.primary
    stage.end(stage.servers.servers[lost].pid, signal.SIGKILL)
    await stage.servers.until_promoted(lost)
    await asyncio.to_thread(stage.servers.servers[lost].wait, 10)
    stage.servers.restart(lost)
    await stage.servers.until_whole(2)


async def primary_suspended(stage: FailingOver, random: random.Random) -> None:
    lost = await stage.servers.fail_over(signal.SIGSTOP)
    stage.servers.servers[lost].send_signal(signal.SIGCONT)
    await stage.servers.until_whole(2)


async def primary_cut_off(stage: FailingOver, random: random.Random) -> None:
    lost = stage.servers.primary
    proxy = stage.proxies[lost]
    proxy.refusing = True
    proxy.cut()
    await stage.servers.until_promoted(lost)
    proxy.refusing = False
    await stage.servers.until_whole(2)


async def replica_killed(stage: FailingOver, random: random.Random) -> None:
    primary = stage.servers.primary
    port = random.choice([port for port in stage.servers.servers if port != primary])
    stage.end(stage.servers.servers[port].pid, signal.SIGKILL)
    await asyncio.to_thread(stage.servers.servers[port].wait, 10)
    await asyncio.sleep(random.uniform(0.0, 2.0))
    stage.servers.restart(port)
    await stage.servers.until_whole(2)


OF_EVERY_FLEET = (
    worker_killed, worker_suspended, worker_drained, workers_clock_wrong,
    store_cut, store_away, store_slow, store_half_open, store_disk_full,
)  # fmt: skip
OF_ONE_SERVER = (
    redis_killed, redis_suspended, redis_full, redis_cannot_save, redis_read_only,
    redis_disk_full, clients_cut, workers_cut, clients_half_open, workers_half_open,
    clients_stalled, workers_refused,
)  # fmt: skip
OF_SENTINEL = (primary_killed, primary_suspended, primary_cut_off, replica_killed)


def faults_of(stage: SoakStage) -> dict[str, Fault]:
    """List the faults that this fleet can have, by name."""
    found: dict[str, Fault] = {f.__name__: partial(f, stage) for f in OF_EVERY_FLEET}
    if isinstance(stage, OneServer):
        found |= {f.__name__: partial(f, stage) for f in OF_ONE_SERVER}
    if isinstance(stage, FailingOver):
        found |= {f.__name__: partial(f, stage) for f in OF_SENTINEL}
    if stage.clock is None:
        del found["workers_clock_wrong"]
    if stage.store_folder is None or not stage.store_folder.can_be_full:
        del found["store_disk_full"]
    if stage.for_store is None:
        del found["store_half_open"], found["store_slow"]
    if isinstance(stage, OneServer) and not stage.server_disk.can_be_full:
        del found["redis_disk_full"]
    return found


async def inject(
    stage: SoakStage,
    random: random.Random,
    until: asyncio.Event,
    done: Counter[str],
    found: list[str],
) -> None:
    """Inject faults, one after the other, until the event; count them in ``done``.

    Each is injected once before any comes again, in an order by chance. ``found`` gets a line
    for each that could not be repaired: then the fleet did not get what it needs to go on.
    """
    faults = faults_of(stage)
    names: list[str] = []
    while not until.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), random.uniform(*BETWEEN_S))
            return
        names = names or random.sample(sorted(faults), len(faults))
        name = names.pop()
        done[name] += 1
        log.info("fault: %s", name)
        try:
            await faults[name](random)
        except Exception as error:
            log.exception("%s could not be repaired", name)
            kind = type(error).__name__
            found.append(f"the fault {name} could not be repaired: {kind}: {error}")
        if isinstance(stage, OneServer) and not stage.valkey.running:
            # That it ended is a violation, which `ProcessWatch` has noted; the soak goes on.
            await asyncio.to_thread(stage.valkey.start, LOADING_S)
