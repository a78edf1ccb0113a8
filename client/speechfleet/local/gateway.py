"""A gateway process beside an embedded fleet."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from speechfleet.errors import MisconfiguredError
from speechfleet.local.process import Child
from speechfleet.local.supervision import keep_alive
from speechfleet.settings import Settings

RANK = 0
"""Ends before the workers: nobody listens any more when they drain."""
READY_WITHIN = 30.0
LEAVING = 2.0
"""Seconds beyond its own grace time."""


class GatewayProcess(Child):
    """``speechfleet gateway --port PORT`` on this machine's loopback; `url` once it serves.

    The constructor waits for that, and raises MisconfiguredError with the end of its log.
    """

    def __init__(self, port: int, *, environ: Mapping[str, str], log: Path, grace: float) -> None:
        command = [sys.executable, "-m", "speechfleet.cli", "gateway", "--port", str(port)]
        super().__init__(
            command, environ=environ, log=log, rank=RANK, grace=grace, stdout=subprocess.PIPE
        )
        self.url = ""
        self._serves = threading.Event()
        threading.Thread(target=self._read, name=f"read {self.pid}", daemon=True).start()
        if not self._serves.wait(READY_WITHIN) or not self.url:
            self.stop()
            raise MisconfiguredError(f"the gateway did not start:\n{self.last_words()}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                word, _, url = line.decode(errors="replace").strip().partition(" ")
                if word == "gateway":
                    self.url = url
                if word == "ready":
                    self._serves.set()
        self._serves.set()


@contextmanager
def gateway_beside(environ: Mapping[str, str], port: int, *, log: Path) -> Iterator[str]:
    """Its URL. Started again, on the same port, whenever it died."""
    grace = Settings.load().grace + LEAVING

    def start(port: int) -> GatewayProcess:
        return GatewayProcess(port, environ=environ, log=log, grace=grace)

    running = start(port)
    url = running.url
    stopping = threading.Event()

    def again() -> GatewayProcess:
        nonlocal running
        running = start(urlsplit(url).port or port)
        return running

    keep_alive("gateway", running, again, stopping)
    try:
        yield url
    finally:
        stopping.set()
        running.stop()
