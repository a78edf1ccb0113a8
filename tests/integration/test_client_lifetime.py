"""A client in a child process, on a second event loop, and after its end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from speechfleet import AsyncClient, Client, Msg
from speechfleet.errors import InvalidRequest, ResultTimeout
from speechfleet.lifecycle import State

FORK = multiprocessing.get_context("fork")
MODEL = "espeak/espeak-ng"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_client_made_before_a_fork_works_in_the_child_and_in_the_parent(redis_url: str) -> None:
    with Client(redis_url=redis_url) as client:
        client.submit(Msg(name="", content="Before.", id="before"), model=MODEL)
        receiver, sender = FORK.Pipe(duplex=False)

        def in_child() -> None:
            client.submit(Msg(name="", content="In the child.", id="child"), model=MODEL)
            try:
                client.job("child").result(timeout=0.5)
            except ResultTimeout:
                sender.send(client.counts()[State.QUEUED])
            client.close()
            client.close()

        child = FORK.Process(target=in_child)
        child.start()
        assert receiver.poll(60), "the child hangs"
        assert receiver.recv() == 2
        child.join(60)
        assert child.exitcode == 0
        assert client.counts()[State.QUEUED] == 2
        client.submit(Msg(name="", content="After.", id="after"), model=MODEL)
        assert client.counts()[State.QUEUED] == 3


def test_many_threads_of_a_child_share_the_client(redis_url: str) -> None:
    program = """
import os, sys, threading
from speechfleet import Client
client = Client(redis_url=sys.argv[1])
if os.fork():
    _, status = os.wait()
    sys.exit(os.waitstatus_to_exitcode(status))
counts = []
threads = [threading.Thread(target=lambda: counts.append(client.counts())) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
os._exit(0 if len(counts) == 8 else 1)
"""
    run_program(program, redis_url)


def test_a_second_event_loop_connects_anew(redis_url: str) -> None:
    """In a program of its own: what the first loop has left open, it has left open."""
    program = """
import asyncio, sys
from speechfleet import AsyncClient
client = AsyncClient(redis_url=sys.argv[1])
for number in (1, 2):
    async def use():
        await client.submit("Words.", model="espeak/espeak-ng")
        return sum((await client.counts()).values())
    assert asyncio.run(use()) == number
asyncio.run(client.close())
"""
    run_program(program, redis_url)


def run_program(program: str, redis_url: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", program, redis_url]
    subprocess.run(command, timeout=180, env=dict(os.environ), check=True)


async def test_two_loops_at_once_are_refused(redis_url: str) -> None:
    async with AsyncClient(redis_url=redis_url) as client:
        await client.counts()

        def elsewhere() -> None:
            asyncio.run(client.counts())

        with pytest.raises(InvalidRequest, match="another event loop"):
            await asyncio.to_thread(elsewhere)


async def test_an_asynchronous_client_closes_twice_and_is_closed(redis_url: str) -> None:
    client = AsyncClient(redis_url=redis_url)
    async with client:
        job = await client.submit("Words.", model=MODEL)
    await client.close()
    for use in (client.counts, job.status, job.result, lambda: client.submit("x", model=MODEL)):
        with pytest.raises(InvalidRequest, match="closed") as caught:
            await use()
        assert caught.value.code == "client_closed"


def test_a_client_closes_twice_and_is_closed(redis_url: str) -> None:
    client = Client(redis_url=redis_url)
    job = client.submit("Words.", model=MODEL)
    client.close()
    client.close()
    with client, pytest.raises(InvalidRequest, match="closed"):
        job.status()


def test_a_session_is_not_carried_to_another_loop(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AsyncClient(redis_url=redis_url)
    session = client.session(model=MODEL, open_timeout=0.1)

    async def use() -> None:
        session._owner.moved()  # as opening does

    async def push() -> None:
        await session.push("Words.")

    asyncio.run(use())
    with pytest.raises(InvalidRequest, match="resume=True"):
        asyncio.run(push())
