"""What the DashScope adapters cost over the bare SDK, on the same loopback server.

    .venv/bin/python -m tests.benchmarks.bench_dashscope

Calls alternate between the two, so that the machine's moods hit both, and both end with the
whole audio in hand. The floors: the first
audio at most 3 ms later (p50), at most 1.3 times the CPU a call, and 100 streams at once in at
most 100 MB more memory.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from statistics import median
from subprocess import PIPE
from typing import Any

import dashscope
from dashscope.api_entities.aio_session import close_shared_aio_session
from dashscope.audio.qwen_tts_realtime import QwenTtsRealtime, QwenTtsRealtimeCallback

from speechfleet.tts import Msg, TTSModelBase, TTSResponse
from speechfleet_worker.providers.dashscope.http import DashScopeTTSModel
from speechfleet_worker.providers.dashscope.realtime import DashScopeRealtimeTTSModel

TOGETHER = 100
LATER, DEARER, LARGER = 0.003, 1.3, 100.0
TEXT = "A sentence of a usual length, as it is spoken a thousand times a day by a machine."
KEY = "sk-bench"

SERVERS = """
import asyncio, sys
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.dashscope_server import DashScopeServer

async def main():
    async with DashScopeServer() as http, DashScopeRealtimeServer() as realtime:
        print(http.base_url, realtime.websocket_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""

Speak = Callable[[], Awaitable[tuple[float, int]]]
"""One call: the seconds to its first audio, and its bytes."""


@asynccontextmanager
async def servers() -> AsyncGenerator[tuple[str, str], None]:
    """In a process of their own: their CPU is not the calls'."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVERS, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        http, realtime = (await process.stdout.readline()).decode().split()
        yield http, realtime
    finally:
        process.stdin.close()
        await process.wait()


def by_adapter(model: TTSModelBase) -> Speak:
    async def speak() -> tuple[float, int]:
        start, first, response = time.perf_counter(), 0.0, TTSResponse()
        responses = await model.synthesize(Msg("bench", TEXT))
        assert isinstance(responses, AsyncGenerator)
        async with aclosing(responses):
            async for each in responses:
                first, response = first or time.perf_counter() - start, each
        return first, len(response.audio_from(0))

    return speak


def by_http_sdk(base_url: str) -> Speak:
    async def speak() -> tuple[float, int]:
        start, first, audio = time.perf_counter(), 0.0, bytearray()
        answers: Any = await dashscope.AioMultiModalConversation.call(
            model="qwen3-tts-flash",
            api_key=KEY,
            text=TEXT,
            voice="Cherry",
            language_type="Auto",
            stream=True,
            base_address=base_url,
        )
        async for answer in answers:
            data = b64decode(answer.output["audio"]["data"])
            if data:
                first = first or time.perf_counter() - start
                audio += data
        return first, len(audio)

    return speak


class _Heard(QwenTtsRealtimeCallback):
    def __init__(self) -> None:
        self.start, self.first, self.audio = time.perf_counter(), 0.0, bytearray()
        self.done = threading.Event()

    def on_event(self, message: Any) -> None:
        if message["type"] == "response.audio.delta":
            self.first = self.first or time.perf_counter() - self.start
            self.audio += b64decode(message["delta"])
        elif message["type"] == "session.finished":
            self.done.set()


def by_realtime_sdk(url: str) -> Speak:
    def speak() -> tuple[float, int]:
        heard = _Heard()
        session = QwenTtsRealtime(model="qwen3-tts-flash-realtime", callback=heard, url=url)
        session.connect()
        session.update_session(voice="Cherry", mode="server_commit", language_type="Auto")
        session.append_text(TEXT)
        session.finish()
        heard.done.wait(30)
        session.close()
        session.thread.join()
        return heard.first, len(heard.audio)

    return lambda: asyncio.to_thread(speak)


async def cost(speak: Speak) -> tuple[float, float, int]:
    """(seconds to the first audio, CPU seconds, bytes) of one call."""
    before = time.process_time()
    first, size = await speak()
    return first, time.process_time() - before, size


def resident() -> float:
    """MB, of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def compare(name: str, calls: int, adapter: Speak, sdk: Speak) -> bool:
    """One row of the table; whether it keeps to the floors."""
    rows: dict[Speak, list[tuple[float, float, int]]] = {adapter: [], sdk: []}
    for _ in range(calls):
        for speak, costs in rows.items():
            costs.append(await cost(speak))
    assert len({size for costs in rows.values() for _, _, size in costs}) == 1
    later = median(c[0] for c in rows[adapter]) - median(c[0] for c in rows[sdk])
    dearer = sum(c[1] for c in rows[adapter]) / sum(c[1] for c in rows[sdk])
    before = resident()
    await asyncio.gather(*(adapter() for _ in range(TOGETHER)))
    larger = resident() - before
    kept = later <= LATER and dearer <= DEARER and larger <= LARGER
    verdict = "pass" if kept else "FAIL"
    print(f"{name:10} {1000 * later:+10.2f} ms {dearer:8.2f} x {larger:9.1f} MB   {verdict}")
    return kept


async def main() -> int:
    dashscope.api_key = KEY
    async with servers() as (base_url, realtime_url):
        print(f"{'':10} {'1st audio':>13} {'CPU':>10} {f'{TOGETHER} streams':>12}")
        http = DashScopeTTSModel(KEY, base_url=base_url)
        realtime = DashScopeRealtimeTTSModel(KEY, base_url=realtime_url)
        kept = [
            await compare("http", 100, by_adapter(http), by_http_sdk(base_url)),
            # The SDK's own session takes a second to close: fewer of them.
            await compare("realtime", 20, by_adapter(realtime), by_realtime_sdk(realtime_url)),
        ]
        print(f"{'floors':10} {1000 * LATER:+10.2f} ms {DEARER:8.2f} x {LARGER:9.1f} MB")
    await close_shared_aio_session()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
