"""A fleet whose primary is lost: everything goes on at the one that Sentinel promotes.

One primary, two replicas and three Sentinels, each server behind a proxy, so that the primary
can also be cut off while it lives.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from speechfleet import AsyncClient, Msg, Settings
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import FleetUnavailable
from speechfleet.job import AsyncJob
from speechfleet.lifecycle import State
from speechfleet.session import AsyncSession
from tests.soak.proxy import CuttingProxy
from tests.support.free_ports import free_port
from tests.support.redis_servers import SentinelSet, sentinel_set
from tests.support.stage import PROVIDERS, ROOT, gather, sentences, spoken

MODEL = "slow/paced"
PACE_S = 0.05
REPLICAS = 2
MAX_SILENCE_S = 90.0
"""Between two chunks, over the failover: some 6 s, where the machine does nothing else."""
LOAD_S = 3.0
"""Seconds of new jobs after the failover."""


@dataclass
class Servers:
    """The servers, and the proxies in front of them by the servers' ports."""

    sentinel: SentinelSet
    proxies: dict[int, CuttingProxy]

    async def lose_primary(self, how: signal.Signals | None) -> None:
        """Kill or stop the primary, or cut it off; return once another is promoted."""
        if how is not None:
            await self.sentinel.fail_over(how)
            return
        lost = self.sentinel.primary
        self.proxies[lost].refusing = True
        self.proxies[lost].cut()
        await self.sentinel.until_promoted(lost)


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        ports = [free_port() for _ in range(1 + REPLICAS)]
        proxies = {port: CuttingProxy("127.0.0.1", port) for port in ports}
        for proxy in proxies.values():
            await proxy.start()
            stack.push_async_callback(proxy.close)
        doors = {port: proxy.port for port, proxy in proxies.items()}
        blocking = stack.enter_context(ExitStack())
        entering = sentinel_set(tmp_path / "redis", replicas=REPLICAS, doors=doors)
        sentinel = await asyncio.to_thread(blocking.enter_context, entering)
        await sentinel.until_whole(REPLICAS)
        yield Servers(sentinel, proxies)


@pytest.fixture
async def workers(servers: Servers, tmp_path: Path) -> AsyncIterator[list[WorkerProcess]]:
    (tmp_path / "store").mkdir()
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SPEECHFLEET_REDIS_URL": servers.sentinel.url,
        "SPEECHFLEET_STORE": (tmp_path / "store").as_uri(),
        "SPEECHFLEET_PROVIDERS": PROVIDERS,
        # A slow machine is no pause of the writer, and no silence of the provider.
        "SPEECHFLEET_SESSION_PAUSE": "20",
        "SPEECHFLEET_SESSION_SILENCE": "250",
    }
    processes = [
        WorkerProcess(
            ["--lanes", lanes], environ=environ, log=tmp_path / f"{lanes}.log", grace=5.0
        )
        for lanes in ("live", "session")
    ]
    yield processes
    for process in processes:
        await asyncio.to_thread(process.stop)  # it drains through the proxies on this loop
        sys.stdout.write(process.log.read_text()[-8000:])  # shown where a test fails


@asynccontextmanager
async def client_of(servers: Servers, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    settings = Settings.load(
        redis_url=servers.sentinel.url,
        store=(tmp_path / "store").as_uri(),
        providers=PROVIDERS,
        accept_replicas=1,
    )
    async with AsyncClient(settings) as client:
        yield client


@dataclass
class Listener:
    """Hears one job to its end; every chunk continues the audio that was heard."""

    job: AsyncJob
    heard: bytes = b""
    silence_s: float = 0.0
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> bytes:
        latest = time.monotonic()
        async for chunk in self.job.stream(linear=True):
            assert chunk.offset == len(self.heard), "no byte twice, none left out"
            self.heard += chunk.delta
            self.silence_s = max(self.silence_s, time.monotonic() - latest)
            latest = time.monotonic()
            self.began.set()
        return self.heard


async def submit(client: AsyncClient, id: str, said: list[str]) -> AsyncJob:
    msg = Msg(name="", content=" ".join(said), id=id)
    return await client.submit(msg, model=MODEL, options={"pace": PACE_S})


async def write(session: AsyncSession, text: str) -> None:
    """Push a text as a language model writes it, word by word, then complete it."""
    words = text.split(" ")
    for end in range(1, len(words)):
        await session.push(" ".join(words[:end]) + " ")
        await asyncio.sleep(PACE_S)
    await session.complete(text)


async def keep_submitting(client: AsyncClient, until: asyncio.Event) -> dict[str, list[str]]:
    """Submit a job now and then; return the texts of those that were accepted."""
    accepted: dict[str, list[str]] = {}
    number = 0
    while not until.is_set():
        id, said = f"new-{number}", sentences(f"the new {number}", 1)
        try:
            await submit(client, id, said)
            accepted[id] = said
        except FleetUnavailable:
            pass  # not accepted: its client knows
        number += 1
        await asyncio.sleep(0.1)
    return accepted


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, signal.SIGSTOP, None], ids=["killed", "stopped", "cut off"]
)
async def test_every_accepted_job_ends_and_no_listener_hears_a_byte_twice(
    servers: Servers, workers: list[WorkerProcess], tmp_path: Path, how: signal.Signals | None
) -> None:
    for worker in workers:
        await asyncio.to_thread(worker.await_ready, 120)
    async with client_of(servers, tmp_path) as client:
        texts = {f"running-{n}": sentences(f"running {n}", 40) for n in range(4)}
        jobs = {id: await submit(client, id, said) for id, said in texts.items()}
        listeners = {id: Listener(job) for id, job in jobs.items()}
        dialogues = {f"session-{n}": sentences(f"the dialogue {n}", 20) for n in range(2)}
        over = asyncio.Event()
        async with asyncio.timeout(240), asyncio.TaskGroup() as group, AsyncExitStack() as stack:
            for id, said in dialogues.items():
                session = await stack.enter_async_context(
                    client.session(model=MODEL, id=id, options={"pace": PACE_S})
                )
                group.create_task(write(session, " ".join(said)))
                listeners[id] = Listener(session.job)
            hearing = {id: group.create_task(each.listen()) for id, each in listeners.items()}
            submitting = group.create_task(keep_submitting(client, over))
            await gather(*(listener.began.wait() for listener in listeners.values()))
            await servers.lose_primary(how)
            await asyncio.sleep(LOAD_S)
            over.set()
            for id, task in hearing.items():
                assert await task == spoken((texts | dialogues)[id]), id
            accepted = await submitting
        assert max(listener.silence_s for listener in listeners.values()) < MAX_SILENCE_S
        for id in accepted:
            result = await client.job(id).result(timeout=120)
            assert result.size
        for id in (*texts, *dialogues):
            status = await client.job(id).status()
            assert (status.state, status.attempts) == (State.SUCCEEDED, 0)
        assert all(worker.running for worker in workers)
        sys.stdout.write(
            f"{len(accepted)} accepted; silence "
            f"{max(listener.silence_s for listener in listeners.values()):.1f} s\n"
        )
