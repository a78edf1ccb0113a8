"""After a failover by Sentinel every connection that was open reaches the new primary."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from speechfleet.errors import FleetUnavailable
from speechfleet.ledger.connection import heartbeat_client
from speechfleet.ledger.ledger import Ledger
from speechfleet.settings import Settings
from speechfleet.waiting import outlast
from tests.support.redis_servers import SentinelSet, sentinel_set

ENTRY = ("kind", "rewind", "offset", "0", "attempt", "1", "reason", "a test")
CONNECT_S = 5.0
"""A stopped server takes connections and answers none: the next one is tried."""
WITHIN_S = 240.0
"""Seconds for all of a test; a failover alone may take two minutes on a busy machine."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[SentinelSet]:
    with sentinel_set(tmp_path) as servers:
        yield servers


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_open_connections_follow_the_primary(
    servers: SentinelSet, number: signal.Signals
) -> None:
    settings = Settings.load(redis_url=servers.url, redis_connect_timeout=CONNECT_S)
    ledger = Ledger(settings, patience_s=WITHIN_S)
    call = ledger.connection.scripts.call
    heartbeat = heartbeat_client(settings, "test")
    async with (
        asyncio.timeout(WITHIN_S),
        ledger.streams.subscribe("a-stream") as subscription,
        ledger.streams.channels.listen("a-channel") as messages,
    ):
        await call("XADD", "a-stream", "*", *ENTRY)
        assert await subscription.next(60)
        await call("PUBLISH", "a-channel", "before")
        assert await messages.get() == b"before"
        assert heartbeat.ping()
        await servers.fail_over(number)

        await call("SET", "written-after", "1")
        while not await subscription.next(0.2):
            await call("XADD", "a-stream", "*", *ENTRY)
        while messages.empty():
            await call("PUBLISH", "a-channel", "after")
            await asyncio.sleep(0.05)
        found = None
        while found is None:  # it gives up at once, and tries again
            with contextlib.suppress(redis.TimeoutError, redis.ConnectionError):
                found = await asyncio.to_thread(heartbeat.get, "written-after")
        assert found == b"1"
    await ledger.close()
    heartbeat.close()
    vars(heartbeat.connection_pool)["sentinel_manager"].close()


async def test_a_primary_that_comes_back_is_not_taken_for_the_primary(
    servers: SentinelSet,
) -> None:
    ledger = Ledger(
        Settings.load(redis_url=servers.url, redis_connect_timeout=CONNECT_S), patience_s=WITHIN_S
    )
    call = ledger.connection.scripts.call
    assert await call("SET", "before", "1")
    stopped = await servers.fail_over(signal.SIGSTOP)
    servers.servers[stopped].send_signal(signal.SIGCONT)
    async with asyncio.timeout(WITHIN_S):
        await call("SET", "after", "1")
        assert (await call("ROLE"))[0] in (b"master", "master")
    await ledger.close()


async def test_without_any_server_the_error_names_the_service(servers: SentinelSet) -> None:
    ledger = Ledger(
        Settings.load(redis_url=servers.url, redis_connect_timeout=CONNECT_S), patience_s=0.1
    )
    call = ledger.connection.scripts.call
    for process in (*servers.servers.values(), *servers.sentinels.values()):
        process.kill()
    with pytest.raises(FleetUnavailable, match="the primary of 'fleet' \\(Sentinel at 127"):
        await outlast(0.1, lambda: call("PING"))
    await ledger.close()
