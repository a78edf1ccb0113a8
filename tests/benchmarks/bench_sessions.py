"""Realtime sessions: from a push to the provider's socket, from its audio to a subscriber.

    .venv/bin/python -m tests.benchmarks.bench_sessions

One worker process, a provider in a process of its own, and this one, which writes and listens.
Times are the host's clock, so they compare across processes. Every push ends one sentence, and
so is answered by one frame of text at the provider's socket.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, aclosing
from statistics import median
from typing import Any

import dashscope

from speechfleet import AsyncClient
from speechfleet.embedded import EmbeddedFleet
from speechfleet.session import AsyncSession
from tests.benchmarks import stamping_provider
from tests.benchmarks.floors import ROOT, Floors, main, percentiles
from tests.benchmarks.stamping_provider import Provider

MODEL, BARE_MODEL = "dashscope/qwen3-tts-flash-realtime", "qwen3-tts-flash-realtime"
SESSIONS, PUSHES_PER_SECOND = 20, 100
MANY, MANY_PUSHES_PER_SECOND = 200, 2000
SECONDS = 15
OPENINGS = 60


def sentence(session: str, number: int) -> str:
    return f"This is sentence {number} of {session}."


def push_of(session: str, number: int) -> str:
    """Ends a sentence, and begins the next one so far that this one's end is certain."""
    return f"{number} of {session}. This is sentence "


async def write(session: AsyncSession, count: int, every: float, first: float) -> dict[int, int]:
    """When each push began, in nanoseconds, by its number."""
    loop = asyncio.get_running_loop()
    began: dict[int, int] = {}
    for number in range(count):
        await asyncio.sleep(max(0.0, first + number * every - loop.time()))
        began[number] = time.time_ns()
        await session.say(push_of(session.id, number))
    return began


async def listen(client: AsyncClient, id: str, latencies: list[float]) -> None:
    """Milliseconds from the provider's frame to here."""
    held = b""
    async with aclosing(client.job(id).stream(accumulate=False)) as chunks:
        async for chunk in chunks:
            now, held = time.time_ns(), held + chunk.delta
            whole = len(held) - len(held) % stamping_provider.FRAME
            latencies += [(now - at) / 1e6 for at in stamping_provider.sent(held[:whole])]
            held = held[whole:]


async def opened(
    stack: AsyncExitStack, client: AsyncClient, name: str, count: int
) -> list[AsyncSession]:
    sessions = [client.session(model=MODEL, id=f"{name} {n}", cache=False) for n in range(count)]
    for session in sessions:
        await stack.enter_async_context(session)
        await session.push("This is sentence ")
    return sessions


async def steady(client: AsyncClient, provider: Provider, floors: Floors) -> None:
    async with AsyncExitStack() as stack:
        sessions = await opened(stack, client, "steady", SESSIONS)
        heard: list[float] = []
        listeners = [asyncio.create_task(listen(client, s.id, heard)) for s in sessions]
        count, every = PUSHES_PER_SECOND * SECONDS // SESSIONS, SESSIONS / PUSHES_PER_SECOND
        first = asyncio.get_running_loop().time() + 1.0
        began = await asyncio.gather(
            *(
                write(session, count, every, first + n * every / SESSIONS)
                for n, session in enumerate(sessions)
            )
        )
        for session in sessions:
            await finish(session)
        await asyncio.gather(*listeners)
        to_socket = [
            (provider.told[sentence(session.id, number)] - at) / 1e6
            for session, starts in zip(sessions, began, strict=True)
            for number, at in starts.items()
        ]
    judge(floors, "push to the provider's socket", to_socket, 5.0, 20.0)
    judge(floors, "provider's frame to a subscriber's chunk", heard, 3.0, 15.0)


async def finish(session: AsyncSession) -> None:
    async for _ in session.synthesize(session.text + "the last one."):
        pass


async def opening(client: AsyncClient, floors: Floors) -> None:
    """A session is ready once a worker holds it; that worker connects to the provider beside."""
    took: list[float] = []
    for number in range(OPENINGS):
        session = client.session(model=MODEL, id=f"opening {number}")
        began = time.perf_counter()
        await session.open()
        took.append(1000 * (time.perf_counter() - began))
        await session.close()
    p50, p99 = percentiles(took)
    floors.at_most("open to ready, p50", p50, 30.0, "ms")
    floors.tell("open to ready, p99", p99, "ms")


async def first_audio(client: AsyncClient, provider: Provider, floors: Floors) -> None:
    """From the end of the first sentence to its first audio, side by side with the bare SDK."""
    ours, theirs = [], []
    for number in range(OPENINGS):
        ours.append(1000 * await by_session(client, f"first {number}"))
        theirs.append(1000 * await asyncio.to_thread(by_sdk, provider.url, f"bare {number}"))
    floors.tell("first audio after the first sentence, p50", median(ours), "ms")
    floors.tell("the same by the bare SDK, p50", median(theirs), "ms")
    floors.at_most("later than the bare SDK", median(ours) - median(theirs), 10.0, "ms")


async def by_session(client: AsyncClient, name: str) -> float:
    async with client.session(model=MODEL, id=name) as session:
        await session.push("This is sentence ")
        async with aclosing(session.job.stream(accumulate=False)) as chunks:
            first = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0.05)
            began = time.perf_counter()
            await session.say(push_of(name, 0))
            await first
            return time.perf_counter() - began


def by_sdk(url: str, name: str) -> float:
    connection: Any = dashscope.Client(api_key="sk-bench").audio.realtime.connect(
        model=BARE_MODEL, ws_url=url
    )
    with connection:
        update = {"voice": "Cherry", "mode": "commit", "response_format": "pcm"}
        connection.send_event({"type": "session.update", "session": update})
        events = iter(connection.events())
        until(events, "session.updated")
        time.sleep(0.05)
        began = time.perf_counter()
        text = sentence(name, 0)
        connection.send_event({"type": "input_text_buffer.append", "text": text})
        connection.send_event({"type": "input_text_buffer.commit"})
        until(events, "response.audio.delta")
        took = time.perf_counter() - began
        connection.send_event({"type": "session.finish"})
        until(events, "session.finished")
        return took


def until(events: Iterable[Any], kind: str) -> None:
    for event in events:
        if (event["type"] if isinstance(event, dict) else event.type) == kind:
            return
    raise AssertionError(f"no {kind}")


async def crowded(client: AsyncClient, floors: Floors) -> None:
    """Letters by letters, as a language model writes."""
    async with AsyncExitStack() as stack:
        sessions = await opened(stack, client, "crowded", MANY)
        every = MANY / MANY_PUSHES_PER_SECOND
        loop = asyncio.get_running_loop()
        first = loop.time() + 1.0
        took = await asyncio.gather(
            *(
                type_(session, int(SECONDS / every), every, first + n * every / MANY)
                for n, session in enumerate(sessions)
            )
        )
        late = loop.time() - first - SECONDS
        await asyncio.gather(*(finish(session) for session in sessions))
    all_of_them = [milliseconds for each in took for milliseconds in each]
    floors.tell(f"pushes a second, {MANY} sessions", len(all_of_them) / (SECONDS + late), "")
    p50, p99 = percentiles(all_of_them)
    floors.tell(f"push, {MANY} sessions, p50", p50, "ms")
    floors.at_most(f"push, {MANY} sessions, p99", p99, 50.0, "ms")


async def type_(session: AsyncSession, count: int, every: float, first: float) -> list[float]:
    loop = asyncio.get_running_loop()
    took: list[float] = []
    text = " ".join(sentence(session.id, number) for number in range(count))
    for number in range(count):
        due = first + number * every
        await asyncio.sleep(max(0.0, due - loop.time()))
        began = time.perf_counter()
        await session.say(text[4 * number : 4 * number + 4])
        took.append(1000 * (time.perf_counter() - began))
    return took


def judge(floors: Floors, name: str, milliseconds: list[float], p50: float, p99: float) -> None:
    half, most = percentiles(milliseconds)
    floors.at_most(f"{name}, p50", half, p50, "ms")
    floors.at_most(f"{name}, p99", most, p99, "ms")


async def measure() -> Floors:
    floors = Floors()
    wanted = sys.argv[1:] or ["steady", "opening", "first", "crowded"]
    async with stamping_provider.running() as provider:
        environ = {"PYTHONPATH": ROOT, "SPEECHFLEET_SESSION_PAUSE": "5", **provider.environ}
        with EmbeddedFleet(environ=environ, lanes=["session"]) as fleet:
            async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
                if "steady" in wanted:
                    await steady(client, provider, floors)
                if "opening" in wanted:
                    await opening(client, floors)
                if "first" in wanted:
                    await first_audio(client, provider, floors)
                if "crowded" in wanted:
                    await crowded(client, floors)
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
