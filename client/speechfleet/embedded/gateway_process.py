"""A gateway process beside an embedded fleet."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from speechfleet.embedded.child_process import ChildProcess
from speechfleet.embedded.restart import keep_alive
from speechfleet.errors import MisconfiguredError
from speechfleet.settings import Settings

GATEWAY_RANK = 0
"""Ends before the workers: when they drain, nobody listens any more."""
READY_TIMEOUT_S = 300.0
"""On a machine that is busy starting workers, too."""
EXIT_MARGIN_S = 2.0
"""Beyond the gateway's own grace time."""


class GatewayProcess(ChildProcess):
    """A process ``speechfleet gateway --port PORT`` on this machine's loopback.

    The constructor waits until it serves, at `url`, and raises MisconfiguredError with the end
    of the log where it does not.
    """

    def __init__(self, port: int, *, environ: Mapping[str, str], log: Path, grace: float) -> None:
        command = [sys.executable, "-m", "speechfleet.cli", "gateway", "--port", str(port)]
        super().__init__(
            command,
            environ=environ,
            log=log,
            rank=GATEWAY_RANK,
            grace=grace,
            stdout=subprocess.PIPE,
        )
        self.url = ""
        self._serves = threading.Event()
        threading.Thread(target=self._read, name=f"read {self.pid}", daemon=True).start()
        if not self._serves.wait(READY_TIMEOUT_S) or not self.url:
            self.stop()
            reason = self.log_tail().removeprefix("speechfleet: ")
            raise MisconfiguredError(f"the gateway did not start: {reason}")

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
    """Run a gateway, yield its URL, and start it again on the same port when it dies."""
    grace = Settings.load().grace + EXIT_MARGIN_S

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
