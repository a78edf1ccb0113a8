"""As many sessions as one worker process may hold, all of them speaking at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from speechfleet import AsyncClient
from speechfleet.session import AsyncSession
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.wire import speech
from tests.support.stage import Stage, gather, sentences, staged

MODEL = "dashscope/qwen3-tts-flash-realtime"
CROWD = 199
"""And one more, which is watched."""
THREADS = 80
LAG = 120.0
"""Seconds from a push to its audio while all the others speak: a bound for a machine that does
more, far above what is heard."""


@pytest.fixture(scope="module")
def provider() -> Iterator[DashScopeRealtimeServer]:
    with DashScopeRealtimeServer(milliseconds=2).thread() as server:
        yield server


@pytest.fixture(scope="module")
def stage(module_folder: Path, provider: DashScopeRealtimeServer) -> Iterator[Stage]:
    environ = {**provider.environment(), "SPEECHFLEET_SESSION_PAUSE": "250"}
    with staged(module_folder, environ, lanes=["session"]) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


def threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^Threads:\s*(\d+)", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def talk(session: AsyncSession, lines: list[str]) -> bytes:
    """In four pushes, and to the end."""
    text = " ".join(lines)
    step = len(text) // 3
    for end in range(step, len(text) + step, step):
        await session.push(text[:end])
    [*_, last] = [chunk async for chunk in session.synthesize()]
    return bytes(last.audio)


async def lag(session: AsyncSession, lines: list[str]) -> float:
    """The longest that it took from the push that ends a sentence to the sentence's audio."""
    clock = asyncio.get_running_loop().time
    longest, chunks = 0.0, session.job.stream()
    for count in range(1, len(lines)):
        text = " ".join(lines[:count])
        at = clock()
        await session.push(text + " " + lines[count][:14])
        async for chunk in chunks:
            if chunk.total >= len(spoken(lines[:count])):
                break
        longest = max(longest, clock() - at)
    return longest


def spoken(lines: list[str]) -> bytes:
    return b"".join(speech(line, milliseconds=2) for line in lines)


async def test_two_hundred_sessions_speak_at_once(stage: Stage, client: AsyncClient) -> None:
    """Each hears its own words to the end, in time, by one process with few threads."""
    lines = {f"crowd-{n}": sentences(f"number {n} of the crowd", 3) for n in range(CROWD)}
    [worker] = stage.fleet.workers
    async with AsyncExitStack() as stack:
        sessions = [client.session(model=MODEL, id=id, open_timeout=240) for id in lines]
        one = client.session(model=MODEL, id="watched", open_timeout=240)
        await gather(*(stack.enter_async_context(session) for session in [*sessions, one]))
        records = await gather(*(session.job.record() for session in sessions))
        assert {record.boot for record in records} == {worker.boot_id}
        watch = asyncio.create_task(lag(one, sentences("the watched", 20)))
        heard = await gather(*(talk(session, lines[session.id]) for session in sessions))
        assert heard == [spoken(lines[session.id]) for session in sessions]
        assert await watch < LAG
        assert threads(worker.pid) < THREADS
