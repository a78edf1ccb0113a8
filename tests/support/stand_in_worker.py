"""A worker without any work, to test what starts and stops workers.

It keeps to the contract of `speechfleet.embedded.worker_process`: it writes
``ready <boot id>`` and ends with status 0 after SIGTERM. Every event goes as a line to the file
that ``EVENTS`` names.
As its first argument: ``fail`` ends at once with status 3, ``mute`` is never ready.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType
from urllib.parse import unquote


def main() -> None:
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    tell(2, f"stand-in worker in mode {mode!r}")
    if mode == "fail":
        sys.exit(3)
    events = os.open(os.environ["EVENTS"], os.O_WRONLY | os.O_APPEND)

    def interrupted(number: int, frame: FrameType | None) -> None:
        tell(events, f"interrupted {os.getpid()}")

    def drain(number: int, frame: FrameType | None) -> None:
        tell(events, f"drained {os.getpid()} {'served' if is_served() else 'alone'}")
        sys.exit(0)

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, drain)
    tell(events, f"started {os.getpid()} {' '.join(sys.argv[1:])}")
    if mode != "mute":
        tell(1, f"ready boot-{os.getpid()}")
    while True:
        signal.pause()


def is_served() -> bool:
    """Ask the server; without redis-py, whose import takes longer than a grace may be."""
    path = unquote(os.environ["SPEECHFLEET_REDIS_URL"].removeprefix("unix://"))
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
            server.sendall(b"PING\r\n")
            return server.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def tell(descriptor: int, line: str) -> None:
    # Not `print`: a signal may come while it holds its buffer, and tell something, too.
    os.write(descriptor, f"{line}\n".encode())


if __name__ == "__main__":
    main()
