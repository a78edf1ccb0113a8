"""What an adapter costs over its bare SDK: one row of a table, with floors."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from statistics import median
from subprocess import PIPE

from speechfleet.tts import Msg, TTSModelBase

TOGETHER = 100
LATER, DEARER, LARGER = 0.003, 1.3, 100.0
TEXT = "A sentence of a usual length, as it is spoken a thousand times a day by a machine."

Speak = Callable[[], Awaitable[tuple[float, int]]]
"""One call: the seconds to its first audio, and its bytes."""


@asynccontextmanager
async def wire_servers() -> AsyncGenerator[dict[str, str], None]:
    """The environment that leads to them; in a process of their own, for its CPU's sake."""
    program = "import asyncio; from speechfleet_worker.testing.__main__ import serve_all as s; "
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{program} asyncio.run(s())", stdout=PIPE
    )
    assert process.stdout is not None
    try:
        environment: dict[str, str] = {}
        while (line := (await process.stdout.readline()).decode().strip()) != "ready":
            name, _, value = line.partition("=")
            environment[name] = value
        yield environment
    finally:
        process.terminate()
        await process.wait()


def by_adapter(model: TTSModelBase) -> Speak:
    async def speak() -> tuple[float, int]:
        start, first, size = time.perf_counter(), 0.0, 0
        responses = await model.synthesize(Msg("bench", TEXT))
        assert isinstance(responses, AsyncGenerator)
        async with aclosing(responses):
            async for response in responses:
                first = first or time.perf_counter() - start
                size += len(response.audio_from(size))
        return first, size

    return speak


async def compare(name: str, calls: int, adapter: Speak, sdk: Speak) -> bool:
    """One row; whether it keeps to the floors. The two alternate, so that the machine's moods
    hit both."""
    rows: dict[Speak, list[tuple[float, float, int]]] = {adapter: [], sdk: []}
    for speak in rows:
        await speak()
    for _ in range(calls):
        for speak, costs in rows.items():
            costs.append(await _cost(speak))
    assert len({size for costs in rows.values() for _, _, size in costs}) == 1
    later = median(c[0] for c in rows[adapter]) - median(c[0] for c in rows[sdk])
    dearer = sum(c[1] for c in rows[adapter]) / sum(c[1] for c in rows[sdk])
    before = _resident()
    await asyncio.gather(*(adapter() for _ in range(TOGETHER)))
    larger = _resident() - before
    kept = later <= LATER and dearer <= DEARER and larger <= LARGER
    _print_row(name, later, dearer, larger, "pass" if kept else "FAIL")
    return kept


def print_head() -> None:
    print(f"{'':12} {'1st audio':>13} {'CPU':>10} {f'{TOGETHER} streams':>12}")
    _print_row("at most", LATER, DEARER, LARGER, "")


def _print_row(name: str, later: float, dearer: float, larger: float, verdict: str) -> None:
    print(f"{name:12} {1000 * later:+10.2f} ms {dearer:8.2f} x {larger:9.1f} MB   {verdict}")


async def _cost(speak: Speak) -> tuple[float, float, int]:
    """(seconds to the first audio, CPU seconds, bytes) of one call."""
    before = time.process_time()
    first, size = await speak()
    return first, time.process_time() - before, size


def _resident() -> float:
    """MB, of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
