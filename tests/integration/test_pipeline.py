"""The pipe: a call never waits for a writer that has nothing more to write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis.asyncio

from speechfleet.embedded import EmbeddedValkey
from speechfleet.ledger import pipeline
from speechfleet.ledger.pipeline import CommandPipeline


@pytest.mark.parametrize("writes", [1, 2])
async def test_a_call_right_after_a_reply_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr(pipeline, "WRITES", writes)
    with EmbeddedValkey(tmp_path / "valkey") as server:
        async with redis.asyncio.Redis.from_url(server.url, protocol=2) as client:
            calls = CommandPipeline(client)

            async def one_after_the_other() -> None:
                for number in range(200):
                    assert await calls.call("ECHO", str(number)) == str(number).encode()

            async with asyncio.timeout(60):
                await asyncio.gather(*(one_after_the_other() for _ in range(writes)))
            await calls.close()
