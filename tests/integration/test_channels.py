"""Publish and subscribe on a real server: no hint is lost when many begin to listen at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from speechfleet import AsyncClient


async def test_listeners_that_begin_at_once_all_hear(redis_url: str) -> None:
    names = [f"channel-{number}" for number in range(10)]
    async with AsyncClient(redis_url=redis_url) as client, AsyncExitStack() as stack:
        queues = await asyncio.gather(
            *(
                stack.enter_async_context(client.ledger.streams.channels.listen(name))
                for name in names
            )
        )
        redis = client.ledger.connection.redis
        async with asyncio.timeout(60):
            while not all(count for _, count in await redis.pubsub_numsub(*names)):
                pass
            for name in names:
                await redis.publish(name, name)
            heard = await asyncio.gather(*(queue.get() for queue in queues))
    assert [data.decode() for data in heard] == names


async def test_who_comes_while_another_leaves_hears(redis_url: str) -> None:
    async with AsyncClient(redis_url=redis_url) as client:
        listen = client.ledger.streams.channels.listen
        async with listen("kept"):  # the connection stays open
            first = listen("busy")
            await first.__aenter__()
            second = listen("busy")
            _, queue = await asyncio.gather(first.__aexit__(None, None, None), second.__aenter__())
            async with asyncio.timeout(60):
                # What is published to an unsubscribed channel is gone, so this ends or fails.
                while queue.empty():
                    await client.ledger.connection.redis.publish("busy", b"word")
            assert await queue.get() == b"word"
            await second.__aexit__(None, None, None)
