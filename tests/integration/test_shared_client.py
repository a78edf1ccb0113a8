"""The client of a loop: one for all who ask on it, made where they ask, closed with it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from speechfleet import AsyncClient, FleetUnavailable, shared_client
from speechfleet.settings import settings


@pytest.fixture(autouse=True)
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", redis_url)


async def connections(client: AsyncClient) -> int:
    listed = await client.ledger.connection.redis.client_list()
    return sum(each["name"].startswith("speechfleet:client") for each in listed)


async def test_all_who_ask_at_once_get_the_same_client() -> None:
    clients = await asyncio.gather(*(shared_client() for _ in range(50)))
    assert len(set(map(id, clients))) == 1
    assert await connections(clients[0]) == 1


def test_each_loop_has_its_own_and_it_ends_with_its_loop(redis_url: str) -> None:
    """As a prewarm hook on one loop and the speech on another, in whatever thread."""

    async def speak() -> AsyncClient:
        client = await shared_client()
        assert await client.counts()
        return client

    clients = [asyncio.run(speak())]
    thread = threading.Thread(target=lambda: clients.append(asyncio.run(speak())))
    thread.start()
    thread.join()
    assert clients[0] is not clients[1]

    async def left() -> int:
        async with AsyncClient(redis_url=redis_url) as client:
            return await connections(client)

    assert asyncio.run(left()) == 1, "its own"


async def test_after_a_failure_the_next_call_tries_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_url: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
        with pytest.raises(FleetUnavailable):
            await shared_client()
    settings.cache_clear()
    assert await connections(await shared_client()) == 1


async def test_a_caller_that_gives_up_does_not_take_the_client_from_the_others() -> None:
    impatient, patient = (asyncio.create_task(shared_client()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await (await patient).counts()


def test_a_client_made_before_any_loop_belongs_to_the_first_that_uses_it(redis_url: str) -> None:
    made = AsyncClient(redis_url=redis_url)

    async def use() -> int:
        await made.open()
        await made.open()
        try:
            return sum((await made.counts()).values())
        finally:
            await made.close()

    assert asyncio.run(use()) == 0
