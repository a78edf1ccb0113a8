"""An accident in mid-sentence, for the tests of voice agents."""

from __future__ import annotations

import asyncio
import os
import signal

from speechfleet import AsyncClient
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault, speech
from tests.support.stage import Stage

MODEL = "openai/gpt-4o-mini-tts"
RATE = 24_000
MILLISECONDS = 40
"""Of speech for each code point."""
LONGEST_PAUSE_S = 90.0
"""At most five where nothing else runs, which the benchmark of the same faults measures."""
NOTICED = {"SPEECHFLEET_SESSION_SILENCE": "3"}
"""Settings of workers that hear the provider stall."""
LINES = (
    "The first sentence is spoken to the end.",
    "In the middle of the second one something breaks.",
    "The third one follows as if nothing had happened.",
)
BROKEN = LINES[1]
AFTER = 2 * RATE
"""Bytes of the second sentence that come before the accident: one second."""
FAULTS = {
    "the provider drops": Fault("drop_middle", after=AFTER),
    "the provider stalls": Fault("stall", after=AFTER),
    "the provider answers 429": Fault("status", 429, "rate_limit", retry_after="1"),
}
ACCIDENTS = (*FAULTS, "the worker is killed", "Redis is killed")


def provider_server() -> OpenAIServer:
    """Make the provider: it speaks at twice the rate of speech."""
    return OpenAIServer(milliseconds=MILLISECONDS, pace=0.5)


def whole_speech() -> bytes:
    """Return the audio of all lines, as it is heard without an accident."""
    return b"".join(speech(line, RATE, MILLISECONDS) for line in LINES)


async def cause(stage: Stage, provider: OpenAIServer, client: AsyncClient, accident: str) -> None:
    """Let the accident happen while the second sentence is spoken."""
    before = len(provider.calls)
    if accident in FAULTS:
        provider.script(None, FAULTS[accident])
        return
    await asyncio.to_thread(
        provider.wait,
        lambda server: any(
            call.text == BROKEN and call.bytes_sent > AFTER for call in server.calls[before:]
        ),
        120.0,
    )
    if accident == "Redis is killed":
        assert stage.fleet.valkey is not None
        await stage.off_loop(stage.fleet.valkey.kill)
        return
    [status] = [job for job in await client.jobs() if job.state == "RUNNING"]
    [worker] = [each for each in stage.fleet.workers if each.boot_id == status.worker]
    os.kill(worker.pid, signal.SIGKILL)


async def all_workers_serve(stage: Stage, client: AsyncClient) -> None:
    """Wait until a worker that was killed before has come back: one is to take over."""
    async with asyncio.timeout(120):
        while True:
            alive = {worker.boot for worker in await client.workers()}
            if all(worker.boot_id in alive for worker in stage.fleet.workers):
                return
            await asyncio.sleep(0.2)
