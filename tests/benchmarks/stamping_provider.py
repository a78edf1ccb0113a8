"""DashScope's realtime server for benchmarks: it tells when text came, and audio when it went.

    python -m tests.benchmarks.stamping_provider

Prints its URL, and from then on a line for each text that is to be spoken: the time
(nanoseconds of the host's clock) and the text. Every frame of audio begins with the time at
which it was sent.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from subprocess import PIPE

from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.wire import Call

FRAME = 4800
"""Bytes: 0.1 s."""
FRAMES = 3
"""A response; nothing paces them."""


class StampingProvider(DashScopeRealtimeServer):
    async def pieces(self, call: Call, text: str | None = None) -> AsyncGenerator[bytes, None]:
        sys.stdout.write(f"{time.time_ns()} {text}\n")
        sys.stdout.flush()
        for _ in range(FRAMES):
            yield time.time_ns().to_bytes(8, "little") + bytes(FRAME - 8)


def sent(audio: bytes) -> Iterator[int]:
    """When each of the whole frames was sent."""
    for start in range(0, len(audio), FRAME):
        yield int.from_bytes(audio[start : start + 8], "little")


class Provider:
    """The server's process, seen from the benchmark. ``told``: text -> when it came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.environ = {"DASHSCOPE_REALTIME_URL": url, "DASHSCOPE_API_KEY": "sk-bench"}
        self.told: dict[str, int] = {}
        self._changed = asyncio.Condition()

    async def read(self, lines: asyncio.StreamReader) -> None:
        while line := (await lines.readline()).decode():
            at, _, text = line.rstrip("\n").partition(" ")
            async with self._changed:
                self.told[text.strip()] = int(at)
                self._changed.notify_all()

    async def until_told(self, count: int, within: float) -> None:
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self.told) >= count)


@asynccontextmanager
async def running() -> AsyncGenerator[Provider, None]:
    """In a process of its own: its CPU is not the worker's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.stamping_provider", stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    provider = Provider((await process.stdout.readline()).decode().strip())
    reader = asyncio.create_task(provider.read(process.stdout))
    try:
        yield provider
    finally:
        process.stdin.close()
        await process.wait()
        await reader


async def main() -> None:
    async with StampingProvider() as server:
        print(server.websocket_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
