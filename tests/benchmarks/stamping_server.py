"""A provider that stamps its audio with the time at which it was sent, in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Call

STAMP = 8


class StampingServer(OpenAIServer):
    """Begins every frame with the time at which it was sent."""

    async def pieces(self, call: Call, text: str | None = None) -> AsyncGenerator[bytes, None]:
        async for piece in super().pieces(call, text):
            yield time.time_ns().to_bytes(STAMP, "little") + piece[STAMP:]


@contextmanager
def stamping_server(*, milliseconds: int, pace: float) -> Iterator[dict[str, str]]:
    """Run such a server beside this process; yields the environment of a worker that calls it.

    A provider that shared this process' interpreter would hold up whoever listens in it.
    """
    ours, theirs = multiprocessing.Pipe()
    # Spawned: a fork would copy the threads' locks of whatever this process has imported.
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, milliseconds, pace), daemon=True
    )
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def _serve(pipe: Connection, milliseconds: int, pace: float) -> None:
    server = StampingServer(milliseconds=milliseconds, pace=pace)
    with server.thread():
        pipe.send(server.environment())
        pipe.recv()
