"""All wire servers on loopback: ``python -m speechfleet_worker.testing``.

Prints the variables that send a worker to them, a line each, then ``ready``, and runs until it
is interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.dashscope_server import DashScopeServer
from speechfleet_worker.testing.dashscope_task_server import DashScopeTaskServer
from speechfleet_worker.testing.elevenlabs_server import ElevenLabsServer
from speechfleet_worker.testing.gemini_server import GeminiServer
from speechfleet_worker.testing.openai_realtime_server import OpenAIRealtimeServer
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.polly_server import PollyServer

SERVERS = (
    OpenAIServer,
    OpenAIRealtimeServer,
    GeminiServer,
    DashScopeServer,
    DashScopeRealtimeServer,
    DashScopeTaskServer,
    ElevenLabsServer,
    PollyServer,
)


@asynccontextmanager
async def running(**settings: Any) -> AsyncGenerator[dict[str, str], None]:
    """Run every server with the same ``settings`` of WireServer; yield their environment."""
    async with AsyncExitStack() as stack:
        environment: dict[str, str] = {}
        for kind in SERVERS:
            server = await stack.enter_async_context(kind(**settings))
            environment |= server.environment()
        yield environment


async def serve_all(**settings: Any) -> None:
    """Print ``NAME=value`` lines and ``ready``; serve until cancelled."""
    async with running(**settings) as environment:
        lines = [f"{name}={value}" for name, value in environment.items()]
        sys.stdout.write("\n".join([*lines, "ready", ""]))
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve_all(pace=0.1))
