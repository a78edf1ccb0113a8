"""Connections that go silent without a word are given up, and others go on where they were."""

from __future__ import annotations

import asyncio

from speechfleet.ledger.ledger import Ledger
from speechfleet.settings import Settings
from tests.support.redis_servers import silencing_proxy

ENTRY = ("kind", "rewind", "offset", "0", "attempt", "1", "reason", "a test")
SOON_S = 60.0
"""Far below any time-out of the operating system's, above those of the ledger's."""


async def test_commands_go_on(redis_url: str) -> None:
    async with silencing_proxy(redis_url) as proxy:
        ledger = Ledger(Settings.load(redis_url=proxy.url))
        call = ledger.connection.scripts.call
        assert await call("ECHO", "before") == b"before"
        assert proxy.silence()
        async with asyncio.timeout(SOON_S):
            assert await call("ECHO", "after") == b"after"
        await ledger.close()


async def test_a_server_that_stands_still_is_waited_for(redis_url: str) -> None:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    call = ledger.connection.scripts.call
    await call("CLIENT", "PAUSE", 3000, "ALL")
    connects = ledger.connection.scripts.pipe.connects
    async with asyncio.timeout(SOON_S):
        assert await call("ECHO", "later") == b"later"
    assert ledger.connection.scripts.pipe.connects == connects
    await ledger.close()


async def test_a_reader_goes_on_from_its_last_entry(redis_url: str) -> None:
    async with silencing_proxy(redis_url) as proxy:
        reader, writer = (Ledger(Settings.load(redis_url=url)) for url in (proxy.url, redis_url))
        add = writer.connection.scripts.call
        async with reader.streams.subscribe("s") as subscription:
            first = await add("XADD", "s", "*", *ENTRY)
            assert [id for id, _ in await subscription.next(SOON_S)] == [first.decode()]
            assert proxy.silence()
            second = await add("XADD", "s", "*", *ENTRY)
            assert [id for id, _ in await subscription.next(SOON_S)] == [second.decode()]
        await reader.close()
        await writer.close()


async def test_a_new_listener_on_a_dead_connection_hears_and_nobody_spins(redis_url: str) -> None:
    async with silencing_proxy(redis_url) as proxy:
        reader, writer = (Ledger(Settings.load(redis_url=url)) for url in (proxy.url, redis_url))
        call = writer.connection.scripts.call
        async with reader.streams.subscribe("old") as old:
            await call("XADD", "old", "*", *ENTRY)
            assert await old.next(SOON_S)
            reader_of_old = old._reader
            assert proxy.silence()
            await call("CONFIG", "RESETSTAT")
            await call("XADD", "new", "*", *ENTRY)
            new = type(old)(reader_of_old, "new", "0")
            reader_of_old.add(new)
            assert await new.next(SOON_S)
            unblocks = (await call("INFO", "commandstats")).get("cmdstat_client|unblock", {})
            assert unblocks.get("calls", 0) < 20
        await reader.close()
        await writer.close()


async def test_channels_subscribe_anew(redis_url: str) -> None:
    async with silencing_proxy(redis_url) as proxy:
        reader, writer = (Ledger(Settings.load(redis_url=url)) for url in (proxy.url, redis_url))
        publish = writer.connection.scripts.call
        async with reader.streams.channels.listen("c") as messages, asyncio.timeout(2 * SOON_S):
            await publish("PUBLISH", "c", "before")
            assert await messages.get() == b"before"
            assert proxy.silence()
            heard = asyncio.create_task(messages.get())
            while not (await asyncio.wait([heard], timeout=0.05))[0]:
                await publish("PUBLISH", "c", "after")
            assert heard.result() == b"after"
        await reader.close()
        await writer.close()
