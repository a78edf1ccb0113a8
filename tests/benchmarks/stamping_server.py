"""A provider that stamps its audio with the time at which it was sent, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

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
    command = [sys.executable, "-m", __name__, str(milliseconds), str(pace)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def _serve(milliseconds: int, pace: float) -> None:
    server = StampingServer(milliseconds=milliseconds, pace=pace)
    with server.thread():
        print(json.dumps(server.environment()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
