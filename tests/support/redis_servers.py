"""Redis servers with a Sentinel, and a proxy that lets connections go silent."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis

from speechfleet.embedded.reaper import REAPER
from speechfleet.embedded.valkey import SERVER_RANK, find_server
from speechfleet_worker.testing.listening import stop_listening
from tests.support.free_ports import free_port

SERVICE = "fleet"
DOWN_AFTER_MS = 1500
"""Longer than a server of a busy machine is silent."""
WITHIN_S = 120.0
"""Sentinels that a busy machine has kept from running do nothing for half a minute."""


@dataclass
class SentinelSet:
    """One primary, its replicas and three Sentinels that watch them, by their ports.

    ``doors``: server's port -> the port by which all others reach it, where a proxy stands
    between them.
    """

    servers: dict[int, subprocess.Popen[bytes]]
    sentinels: dict[int, subprocess.Popen[bytes]]
    doors: Mapping[int, int]
    start_server: Callable[[int, int | None], subprocess.Popen[bytes]]
    """Starts the server of a port, as the replica of the server of another one."""

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://{hosts}/{SERVICE}/0"

    @property
    def primary(self) -> int:
        """The port of the primary, as the first Sentinel names it."""
        with redis.Redis(port=next(iter(self.sentinels)), socket_timeout=WITHIN_S) as sentinel:
            found = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
            servers = {door: port for port, door in self.doors.items()}
            return servers.get(int(found[1]), int(found[1]))

    @property
    def primary_url(self) -> str:
        """The URL of the primary itself, beside every proxy."""
        return f"redis://127.0.0.1:{self.primary}/0"

    async def fail_over(self, number: signal.Signals) -> int:
        """Send the primary this signal; return its port once another one was promoted."""
        lost = self.primary
        self.servers[lost].send_signal(number)
        return await self.until_promoted(lost)

    async def until_promoted(self, lost: int) -> int:
        """Wait until another server than ``lost`` is the primary; return ``lost``."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.to_thread(self._await_switch, lost)
        return lost

    def _await_switch(self, lost: int) -> None:
        end = time.monotonic() + WITHIN_S
        with redis.Redis(port=next(iter(self.sentinels))) as sentinel, sentinel.pubsub() as events:
            events.subscribe("+switch-master")
            while self.primary == lost:  # it may have been promoted before we listened
                assert time.monotonic() < end, f"no server was promoted after {lost}"
                events.get_message(timeout=1)

    def restart(self, port: int) -> None:
        """Start a server that was killed, as an operator should: as a replica."""
        self.servers[port] = self.start_server(port, self.primary)

    async def until_whole(self, replicas: int) -> None:
        """Wait until the primary has so many replicas that are in step."""

        def look() -> None:
            end = time.monotonic() + WITHIN_S
            while not self._has(replicas):
                assert time.monotonic() < end, f"the primary has no {replicas} replicas"
                time.sleep(0.1)

        await asyncio.to_thread(look)

    def _has(self, replicas: int) -> bool:
        with (
            contextlib.suppress(redis.RedisError),
            redis.Redis(port=self.primary) as client,
        ):
            found = client.info("replication")
            states = [found.get(f"slave{n}", {}).get("state") for n in range(replicas)]
            return states == ["online"] * replicas
        return False


@contextmanager
def sentinel_set(
    folder: Path,
    *,
    replicas: int = 1,
    doors: Mapping[int, int] | None = None,
    options: Sequence[str] = (),
) -> Iterator[SentinelSet]:
    """Start the servers; return once the Sentinels know each other and the replicas.

    ``doors``: a port for each server, and the one by which it is reached. ``options``: of each
    server, further ones.
    """
    program = find_server()
    doors = doors or {port: port for port in (free_port() for _ in range(1 + replicas))}
    primary, *others = doors
    with contextlib.ExitStack() as stack:

        def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
            place = folder / name
            place.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context((place / "log").open("ab"))
            command = [program, *arguments, "--dir", str(place)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            REAPER.watch(process.pid, rank=SERVER_RANK, grace=0.0)  # should we be killed
            stack.callback(_end, process)
            return process

        def start_server(port: int, of: int | None) -> subprocess.Popen[bytes]:
            following = () if of is None else ("--replicaof", f"127.0.0.1 {doors[of]}")
            return start(
                f"server-{port}", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--repl-diskless-sync-delay", "0",
                "--replica-announce-ip", "127.0.0.1",
                "--replica-announce-port", str(doors[port]), *options, *following,
            )  # fmt: skip

        servers = {
            port: start_server(port, None if port == primary else primary) for port in doors
        }
        for port in servers:
            _wait_for(port, lambda client: client.ping())
        sentinels = {}
        for number in range(3):
            port = free_port()
            place = folder / f"sentinel-{number}"
            place.mkdir(parents=True)
            (place / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {doors[primary]} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} 3000\n"
                f"sentinel parallel-syncs {SERVICE} {len(others)}\n"
            )
            sentinels[port] = start(
                f"sentinel-{number}", str(place / "sentinel.conf"), "--sentinel"
            )
        for port in sentinels:
            _wait_for(port, lambda sentinel: _knows_all(sentinel, len(others)))
        yield SentinelSet(servers, sentinels, doors, start_server)


def _knows_all(sentinel: redis.Redis, replicas: int) -> bool:
    state: Any = sentinel.sentinel_master(SERVICE)
    return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == replicas)


def _wait_for(port: int, true: Callable[[redis.Redis], object]) -> None:
    end = time.monotonic() + WITHIN_S
    while True:
        with (
            contextlib.suppress(redis.RedisError),
            redis.Redis(port=port, socket_timeout=2) as client,
        ):
            if true(client):
                return
        assert time.monotonic() < end, f"the server on port {port} is not ready"
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    REAPER.forget(process.pid)


class SilencingProxy:
    """Passes bytes to a server; `silence` makes the connections there are now deaf for ever.

    Nobody is told, as after a host or a NAT entry has vanished: no FIN, no RST. Connections that
    are made later work.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._deaf: list[asyncio.Event] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        target_reader, target_writer = await self._connect()
        deaf = asyncio.Event()
        self._deaf.append(deaf)
        self._writers.append(target_writer)
        with contextlib.suppress(asyncio.CancelledError):  # the test is over
            await asyncio.gather(
                self._pass(reader, target_writer, deaf), self._pass(target_reader, writer, deaf)
            )

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(self._target.path)
        return await asyncio.open_connection(self._target.hostname, self._target.port)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not deaf.is_set():
                    writer.write(data)
                    await writer.drain()
            if not deaf.is_set():
                writer.close()

    def silence(self) -> int:
        """Return how many connections went silent."""
        silenced = [deaf for deaf in self._deaf if not deaf.is_set()]
        for deaf in silenced:
            deaf.set()
        return len(silenced)

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def silencing_proxy(url: str) -> AsyncIterator[SilencingProxy]:
    """Stand between a client and the server of this URL."""
    proxy = SilencingProxy(url)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    parts = urlsplit(url)
    port = server.sockets[0].getsockname()[1]
    login = parts.netloc.rpartition("@")[0]
    host = f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}"
    proxy.url = urlunsplit(("redis", host, "/0", "", ""))
    try:
        yield proxy
    finally:
        await stop_listening(server)
        proxy.close()
