"""A worker without any work, to test what starts and stops workers.

It keeps to the contract of `speechfleet.local.worker`: it writes ``ready <boot id>`` and ends
with status 0 after SIGTERM. Every event goes as a line to the file that ``EVENTS`` names.
As its first argument: ``fail`` ends at once with status 3, ``mute`` is never ready.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TextIO

import redis


def main() -> None:
    with Path(os.environ["EVENTS"]).open("a", buffering=1) as events:
        work(events)


def work(events: TextIO) -> None:
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"stand-in worker in mode {mode!r}", file=sys.stderr, flush=True)
    if mode == "fail":
        sys.exit(3)
    events.write(f"started {os.getpid()} {' '.join(sys.argv[1:])}\n")

    def interrupted(number: int, frame: FrameType | None) -> None:
        events.write(f"interrupted {os.getpid()}\n")

    def drain(number: int, frame: FrameType | None) -> None:
        served = redis.Redis.from_url(os.environ["SPEECHFLEET_REDIS_URL"]).ping()
        events.write(f"drained {os.getpid()} {'served' if served else 'alone'}\n")
        sys.exit(0)

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, drain)
    if mode != "mute":
        print(f"ready boot-{os.getpid()}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
