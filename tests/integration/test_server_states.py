"""A server that loads, is busy, or has no connection left: waited out, or named in the error."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from speechfleet.embedded import EmbeddedValkey
from speechfleet.embedded.valkey import find_server
from speechfleet.errors import FleetUnavailable
from speechfleet.ledger.ledger import Ledger
from speechfleet.settings import Settings
from tests.support.free_ports import free_port

KEYS = 40_000
LOAD_DELAY_US = 2500
"""For each key: the server loads for more than a minute, unless it is told to hurry."""


async def outcomes(url: str, in_the_state: asyncio.Event, code: str) -> None:
    """A client without patience learns the code; one with patience goes on once it may."""
    hasty = Ledger(Settings.load(redis_url=url), patience_s=0.0)
    patient = Ledger(Settings.load(redis_url=url), patience_s=60.0)
    with pytest.raises(FleetUnavailable, match=code) as caught:
        await hasty.connection.scripts.call("SET", "hasty", "1")
    assert caught.value.retryable
    waiting = asyncio.create_task(patient.connection.scripts.call("SET", "patient", "1"))
    assert not (await asyncio.wait([waiting], timeout=0.3))[0]
    in_the_state.set()
    async with asyncio.timeout(60):
        assert await waiting
    await hasty.close()
    await patient.close()


async def test_a_script_that_never_ends(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("busy-reply-threshold", 50)

        def run_for_ever() -> None:
            with (
                redis.Redis.from_url(redis_url, socket_timeout=None) as other,
                suppress(redis.ResponseError),
            ):
                other.eval("while true do end", 0)

        running = asyncio.create_task(asyncio.to_thread(run_for_ever))
        with suppress(redis.ResponseError):
            while client.ping():  # until the server says that it is busy
                await asyncio.to_thread(client.ping)
        killed = asyncio.Event()

        async def kill() -> None:
            await killed.wait()
            client.script_kill()

        killing = asyncio.create_task(kill())
        await outcomes(redis_url, killed, "BUSY")
        await asyncio.gather(running, killing)
        client.config_set("busy-reply-threshold", 5000)


async def test_a_server_with_no_connection_left(tmp_path: Path) -> None:
    """By TCP: the end of a Unix socket comes before the words of the server are read."""
    with (
        EmbeddedValkey(tmp_path, port=free_port()) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        before = client.config_get("maxclients")["maxclients"]
        client.config_set("maxclients", client.info("clients")["connected_clients"])
        free = asyncio.Event()

        async def give_room() -> None:
            await free.wait()
            client.config_set("maxclients", before)

        giving = asyncio.create_task(give_room())
        await outcomes(server.url, free, "MAXCLIENTS")
        await giving


@contextmanager
def server_on(folder: Path, *options: str) -> Iterator[str]:
    path = folder / "valkey.sock"
    command = [find_server(), "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as server:
        try:
            with redis.Redis.from_url(f"unix://{path}") as client:
                while server.poll() is None:
                    with suppress(redis.ConnectionError):  # LOADING is one of these, too
                        client.ping()
                        break
                    if path.exists() and "--key-load-delay" in options:
                        break
            yield f"unix://{path}"
        finally:
            server.terminate()


async def test_a_server_that_loads_its_data(tmp_path: Path) -> None:
    with server_on(tmp_path) as url, redis.Redis.from_url(url) as client:
        client.mset({f"key-{n}": "x" * 100 for n in range(KEYS)})
        client.save()
    slowly = ("--key-load-delay", str(LOAD_DELAY_US))
    steps = ("--loading-process-events-interval-bytes", "1024")
    with (
        server_on(tmp_path, *slowly, *steps) as url,
        redis.Redis.from_url(url, socket_timeout=60) as client,
    ):
        with pytest.raises(redis.BusyLoadingError):
            client.ping()
        may_end = asyncio.Event()

        async def hurry() -> None:
            await may_end.wait()
            await asyncio.to_thread(client.config_set, "key-load-delay", 0)

        hurrying = asyncio.create_task(hurry())
        await outcomes(url, may_end, "LOADING")
        await hurrying
