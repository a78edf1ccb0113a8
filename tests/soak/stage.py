"""The fleet under test: Valkey, workers, a gateway and a store, each behind a proxy."""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio

from speechfleet import AsyncClient, Settings
from speechfleet.embedded import EmbeddedFleet, EmbeddedValkey, gateway_process, worker_pool
from speechfleet.embedded.gateway_process import GatewayProcess
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import MisconfiguredError
from tests.soak.disk import SmallDisk, small_disk
from tests.soak.process_watch import Watched
from tests.soak.proxy import CuttingProxy
from tests.soak.starting import crashed, start_worker
from tests.soak.workers_clock import WorkersClock
from tests.support import moto_server
from tests.support.free_ports import free_port
from tests.support.redis_servers import SentinelSet, sentinel_set
from tests.support.slow_model import LEDGER
from tests.support.stage import PROVIDERS, ROOT, Ledger

# A machine under such load starts no process in the time that is right for others.
worker_pool.READY_TIMEOUT_S = gateway_process.READY_TIMEOUT_S = 180.0
LOADING_S = 180.0
"""Seconds in which a server on a busy machine answers, or loads what ten minutes have left."""
SESSIONS = ("--lanes", "session")
NAMESPACES = ("north", "south")
SETTINGS = {
    # Streams and records stay to the end: the invariants read them.
    "SPEECHFLEET_STREAM_TTL": "7200",
    "SPEECHFLEET_STORE_PATIENCE": "20",
    "SPEECHFLEET_GRACE": "3",
    "SPEECHFLEET_MAX_ATTEMPTS": "50",
    # A failover on a busy machine lasts 16 s, and the next one may follow.
    "SPEECHFLEET_SESSION_VANISHED": "60",
    "SPEECHFLEET_SESSION_IDLE": "60",
}
"""Every fault here is repaired within seconds, so no job may fail for want of patience."""


@dataclass
class SoakStage(ABC):
    """Handles on everything that a fault can touch."""

    folder: Path
    store_folder: SmallDisk | None
    """None where the store is S3."""
    for_store: CuttingProxy | None
    """In front of the S3 server; None where the store is a folder."""
    clock: WorkersClock | None
    """None where it cannot be set: see `WorkersClock.find`, and `_fleet`."""
    ledger: Ledger
    fleet: EmbeddedFleet
    gateway: GatewayProcess
    environ: dict[str, str]
    ended: set[int]
    """Pids of the processes that a fault has ended, or has asked to end."""
    starting: list[asyncio.Task[WorkerProcess]]
    """Workers that take the places of others; their tasks have to be awaited."""

    def end(self, pid: int, number: signal.Signals) -> None:
        """Send a process the signal that ends it."""
        self.ended.add(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def processes(self) -> list[Watched]:
        """List the processes that should run unless a fault has ended them."""
        may_crash = self.clock is not None
        return [
            *(Watched.worker(each, may_crash=may_crash) for each in self.fleet.workers),
            Watched.child("the gateway", self.gateway),
        ]

    @property
    @abstractmethod
    def redis_url(self) -> str:
        """The URL of the server that has the truth, beside every proxy."""

    def server(self) -> redis.asyncio.Redis:
        """Connect to that server: a fault whose repair is given up would stay for ever."""
        return redis.asyncio.Redis.from_url(
            self.redis_url, socket_timeout=LOADING_S, socket_connect_timeout=LOADING_S
        )

    def client(self, namespace: str) -> AsyncClient:
        """Return a client that reaches Redis as every user does: through its proxy, if any."""
        return self._client(namespace, self.environ["SPEECHFLEET_REDIS_URL"])

    def direct(self, namespace: str) -> AsyncClient:
        """Return a client without a proxy, for the invariants."""
        return self._client(namespace, self.redis_url)

    def _client(self, namespace: str, redis_url: str) -> AsyncClient:
        return AsyncClient(
            Settings.load(
                redis_url=redis_url,
                store=self.environ["SPEECHFLEET_STORE"],
                providers=PROVIDERS,
                namespace=namespace,
                accept_replicas=self.environ.get("SPEECHFLEET_ACCEPT_REPLICAS"),
            )
        )

    @property
    def workers(self) -> list[WorkerProcess]:
        """The workers that take jobs: one that is still starting is left alone by the faults."""
        return [worker for worker in self.fleet.workers if worker.running and worker.boot_id]

    async def any_worker(self, random: Random) -> WorkerProcess:
        """Choose a worker, once there is one."""
        async with asyncio.timeout(180):
            while True:
                if workers := self.workers:
                    return random.choice(workers)
                await asyncio.sleep(0.1)


@dataclass
class OneServer(SoakStage):
    """A fleet with one server, and proxies in front of it for clients and for workers."""

    valkey: EmbeddedValkey
    server_disk: SmallDisk
    for_clients: CuttingProxy
    for_workers: CuttingProxy

    @property
    def redis_url(self) -> str:
        return self.valkey.url

    def processes(self) -> list[Watched]:
        valkey = self.valkey

        def status() -> int | None:
            return None if valkey.running else valkey.wait()

        return [*super().processes(), Watched("Valkey", valkey.pid, status, valkey.log)]


@dataclass
class FailingOver(SoakStage):
    """A fleet with one primary, two replicas and three Sentinels."""

    servers: SentinelSet
    proxies: dict[int, CuttingProxy]
    """In front of each server, by the server's port."""

    @property
    def redis_url(self) -> str:
        return self.servers.primary_url

    def processes(self) -> list[Watched]:
        folder, servers = self.folder / "redis", self.servers
        return [
            *super().processes(),
            *(
                Watched.popen(f"Valkey {port}", process, folder / f"server-{port}" / "log")
                for port, process in servers.servers.items()
            ),
            *(
                Watched.popen(f"Sentinel {number}", process, folder / f"sentinel-{number}" / "log")
                for number, process in enumerate(servers.sentinels.values())
            ),
        ]


@asynccontextmanager
async def staged(
    folder: Path, *, s3: bool, sentinel: bool, clock: WorkersClock | None
) -> AsyncIterator[SoakStage]:
    """Bring all of it up, and end it. ``clock``: the workers' own, which a fault can set."""
    async with AsyncExitStack() as stack:
        ledger = Ledger(folder / "ledger")
        stack.callback(ledger.close)
        environ = {
            **SETTINGS,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "SPEECHFLEET_PROVIDERS": PROVIDERS,
            LEDGER: str(ledger.path),
        }
        store = await _store(stack, folder, environ, s3=s3)
        redis = await (_sentinels if sentinel else _one_server)(stack, folder, environ)
        stack.enter_context(variables({**environ, "SPEECHFLEET_REDIS_URL": redis.for_workers}))
        fleet, clock = await _fleet(stack, folder, environ, clock)
        environ["SPEECHFLEET_REDIS_URL"] = redis.for_clients
        served = {**os.environ, **environ, "SPEECHFLEET_GATEWAY_PATIENCE": "60"}
        gateway = await asyncio.to_thread(
            GatewayProcess, 0, environ=served, log=folder / "gateway.log", grace=5.0
        )
        stack.push_async_callback(asyncio.to_thread, gateway.stop)
        yield redis.make(
            folder=folder, store_folder=store[0], for_store=store[1], clock=clock,
            ledger=ledger, fleet=fleet, gateway=gateway, environ=environ, ended=set(),
            starting=[],
        )  # fmt: skip


async def _fleet(
    stack: AsyncExitStack, folder: Path, environ: dict[str, str], clock: WorkersClock | None
) -> tuple[EmbeddedFleet, WorkersClock | None]:
    """Start four workers; with the system's clock where the other crashes them."""
    fleet = EmbeddedFleet(
        folder / "fleet", workers=0, lanes=["live", "batch"], valkey=False,
        environ=environ | (clock.environ if clock is not None else {}),
        store_url=environ["SPEECHFLEET_STORE"], grace=3.0,
    )  # fmt: skip
    await asyncio.to_thread(fleet.start)
    stack.push_async_callback(asyncio.to_thread, fleet.stop)
    try:
        for lanes in ((), (), SESSIONS, SESSIONS):
            await asyncio.to_thread(start_worker, fleet, *lanes)
    except MisconfiguredError as error:
        if clock is None or not crashed(error):
            raise
        await asyncio.to_thread(fleet.stop)
        return await _fleet(stack, folder, environ, None)
    return fleet, clock


@dataclass(frozen=True)
class _Redis:
    """The URLs by which clients and workers reach it, and what makes the stage of it."""

    for_clients: str
    for_workers: str
    make: Callable[..., SoakStage]


async def _one_server(stack: AsyncExitStack, folder: Path, environ: dict[str, str]) -> _Redis:
    disk = stack.enter_context(small_disk(folder / "valkey"))
    valkey = EmbeddedValkey(folder / "valkey", port=free_port())
    await asyncio.to_thread(valkey.start)
    stack.callback(valkey.stop)
    port = urlsplit(valkey.url).port
    assert port is not None
    for_clients, for_workers = [await _proxy(stack, port) for _ in range(2)]

    def url(proxy: CuttingProxy) -> str:
        return valkey.url.replace(f":{port}/", f":{proxy.port}/")

    def make(**common: Any) -> SoakStage:
        return OneServer(
            **common, valkey=valkey, server_disk=disk, for_clients=for_clients,
            for_workers=for_workers,
        )  # fmt: skip

    return _Redis(url(for_clients), url(for_workers), make)


async def _sentinels(stack: AsyncExitStack, folder: Path, environ: dict[str, str]) -> _Redis:
    # All of them: a primary that comes to itself may keep one of its replicas for a moment,
    # and that one is not the one that was promoted.
    environ["SPEECHFLEET_ACCEPT_REPLICAS"] = "2"
    proxies = {port: await _proxy(stack, port) for port in [free_port() for _ in range(3)]}
    doors = {port: proxy.port for port, proxy in proxies.items()}
    blocking = stack.enter_context(ExitStack())
    # As docs/guides/redis.md asks for: a primary that was suspended takes no write once it runs
    # again, which would be lost as soon as Sentinel demotes it.
    refuse_alone = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "5")
    entering = sentinel_set(folder / "redis", replicas=2, doors=doors, options=refuse_alone)
    servers = await asyncio.to_thread(blocking.enter_context, entering)
    await servers.until_whole(2)

    def make(**common: Any) -> SoakStage:
        return FailingOver(**common, servers=servers, proxies=proxies)

    return _Redis(servers.url, servers.url, make)


async def _store(
    stack: AsyncExitStack, folder: Path, environ: dict[str, str], *, s3: bool
) -> tuple[SmallDisk | None, CuttingProxy | None]:
    """Make a store, and put its settings into ``environ``."""
    if not s3:
        disk = stack.enter_context(small_disk(folder / "disk"))
        (folder / "disk" / "store").mkdir()
        environ["SPEECHFLEET_STORE"] = (folder / "disk" / "store").as_uri()
        return disk, None
    endpoint = urlsplit(stack.enter_context(moto_server.moto_server()))
    moto_server.reset(endpoint.geturl())
    assert endpoint.port is not None
    proxy = await _proxy(stack, endpoint.port)
    environ |= moto_server.environment(f"http://127.0.0.1:{proxy.port}")
    environ["SPEECHFLEET_STORE"] = f"s3://{moto_server.BUCKET}/soak"
    return None, proxy


async def _proxy(stack: AsyncExitStack, port: int) -> CuttingProxy:
    proxy = CuttingProxy("127.0.0.1", port)
    await proxy.start()
    stack.push_async_callback(proxy.close)
    return proxy


@contextmanager
def variables(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
