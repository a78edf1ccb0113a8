"""The pipeline over a real server: every command gets its own reply, whatever happens between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio
from redis.exceptions import ResponseError

from speechfleet.embedded import EmbeddedValkey
from speechfleet.ledger.lasting_connection import MAX_UNDER_WAY
from speechfleet.ledger.pipeline import BATCH, CommandPipeline


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@asynccontextmanager
async def opened(server: EmbeddedValkey) -> AsyncIterator[CommandPipeline]:
    async with redis.asyncio.Redis.from_url(server.url, protocol=2) as client:
        pipe = CommandPipeline(client)
        try:
            async with asyncio.timeout(60):
                yield pipe
        finally:
            await pipe.close()


async def test_a_call_right_after_a_reply_is_sent(server: EmbeddedValkey) -> None:
    async with opened(server) as pipe:

        async def one_after_the_other(task: int) -> None:
            for number in range(200):
                text = f"{task}-{number}"
                assert await pipe.call("ECHO", text) == text.encode()

        await asyncio.gather(*(one_after_the_other(task) for task in range(5)))


async def test_each_command_of_a_large_batch_gets_its_own_reply(server: EmbeddedValkey) -> None:
    commands = [("ECHO", f"{number}-{'x' * (number % 700)}") for number in range(3 * BATCH)]
    async with opened(server) as pipe:
        replies = await pipe.call_all(commands)
    assert replies == [text.encode() for _, text in commands]


async def test_a_reply_of_many_megabytes_comes_whole(server: EmbeddedValkey) -> None:
    large = bytes(range(256)) * (32 << 10)
    async with opened(server) as pipe:
        await pipe.call("SET", "large", large)
        first, second = await asyncio.gather(pipe.call("GET", "large"), pipe.call("ECHO", "small"))
    assert (first, second) == (large, b"small")


async def test_an_error_is_its_own_commands_alone(server: EmbeddedValkey) -> None:
    async with opened(server) as pipe:
        replies = await pipe.call_all([("ECHO", "before"), ("NONSENSE",), ("ECHO", "behind")])
    assert replies[0] == b"before"
    assert isinstance(replies[1], ResponseError)
    assert replies[2] == b"behind"


async def test_a_connection_that_the_server_closes_is_opened_again(server: EmbeddedValkey) -> None:
    """Between two commands, and while one is waited for."""
    async with opened(server) as pipe, redis.asyncio.Redis.from_url(server.url) as other:
        await pipe.call("SET", "counter", 0)
        own = await pipe.call("CLIENT", "ID")
        await other.client_kill_filter(_id=str(own))
        assert await pipe.call("INCR", "counter") == 1
        own, blocked = await pipe.call("CLIENT", "ID"), pipe.send(("BLPOP", "empty", 0))
        await other.ping()  # by then it waits in the server
        await other.client_kill_filter(_id=str(own))
        assert not blocked.done()
        await other.rpush("empty", "found")
        assert await blocked == [b"empty", b"found"]
        assert pipe.connects == 3


async def test_batches_under_way_are_sent_again_in_their_order(server: EmbeddedValkey) -> None:
    count = (MAX_UNDER_WAY + 1) * BATCH
    async with opened(server) as pipe, redis.asyncio.Redis.from_url(server.url) as other:
        own = await pipe.call("CLIENT", "ID")
        blocked = pipe.send(("BLPOP", "gate", 0))
        replies = [pipe.send(("SET", "last", number)) for number in range(count)]
        await other.ping()  # by then the server has read some of them
        await other.client_kill_filter(_id=str(own))
        await other.rpush("gate", "open")
        assert await blocked == [b"gate", b"open"]
        assert set(await asyncio.gather(*replies)) == {b"OK"}
        assert await pipe.call("GET", "last") == str(count - 1).encode()
        assert pipe.connects == 2


async def test_a_closed_pipeline_leaves_no_command_waiting(server: EmbeddedValkey) -> None:
    async with opened(server) as pipe:
        await pipe.call("PING")
        under_way = pipe.send(("BLPOP", "never", 0))
        await asyncio.sleep(0)
        waiting = pipe.send(("PING",))
        await pipe.close()
        assert under_way.cancelled()
        assert waiting.cancelled()
