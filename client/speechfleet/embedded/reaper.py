"""The reaper: a process that ends our child processes when this process is gone.

A child outlives a parent that is killed by signal 9, and the kernel's own remedy
(PR_SET_PDEATHSIG) is bound to the thread that set it and unknown outside Linux. So one small
process, shared by all that this process starts, reads a pipe of which we hold the only other
end: when that end closes, it terminates the workers, lets them drain, and then the servers.

This module is also the reaper's program. It imports nothing but the standard library, so
that the reaper runs before the first child does.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO


class Reaper:
    """Write orders to the reaper, which starts with the first child. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_ending = False
        """This process ends, and with it all that it has started."""

    def watch(self, pid: int, *, rank: int, grace: float) -> None:
        """End ``pid`` when we are gone: lower ranks first, SIGKILL after ``grace`` seconds."""
        self._send("watch", pid, rank, grace)

    def forget(self, pid: int) -> None:
        """Watch a process no more: it has ended, and its pid may soon be another's."""
        self._send("forget", pid)

    def remove(self, folder: str) -> None:
        """Remove a temporary folder when we are gone, after all processes."""
        self._send("remove", folder)

    def keep(self, folder: str) -> None:
        """Remove a folder no more: it is gone already."""
        self._send("keep", folder)

    def _send(self, *order: object) -> None:
        with self._lock:
            if self._process is None:
                self._process = _start()
                atexit.register(self._close)
            assert self._process.stdin is not None
            # Closed, or killed by somebody: an orderly stop works without it all the same.
            with suppress(BrokenPipeError, ValueError):
                self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self.is_ending = True
        self._process.stdin.close()
        # At once where all was stopped; the reaper ends whatever was not.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)


REAPER = Reaper()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # Out of reach of the terminal's Ctrl-C, and of a hang-up.
        start_new_session=True,
    )


# --- the reaper's own process ---------------------------------------------------------------


KILL_TIMEOUT_S = 5.0
"""In this time the kernel surely ends a process that gets SIGKILL."""

# Gone; or gone, and its pid given to another user's process.
_NOT_OURS = (ProcessLookupError, PermissionError)


@dataclass
class WatchedProcess:
    """A process to end when our owner is gone."""

    pid: int
    rank: int
    grace: float
    # Linux: names this very process, even when its pid has been given to another one.
    handle: int | None = None

    def __post_init__(self) -> None:
        if sys.platform == "linux":
            with suppress(OSError):
                self.handle = os.pidfd_open(self.pid)

    def signal(self, number: int) -> None:
        with suppress(*_NOT_OURS):
            if sys.platform == "linux" and self.handle is not None:
                signal.pidfd_send_signal(self.handle, number)
            else:
                os.kill(self.pid, number)

    def ended_within(self, seconds: float) -> bool:
        if self.handle is not None:
            return bool(select.select([self.handle], [], [], max(0.0, seconds))[0])
        end = time.monotonic() + seconds
        while _exists(self.pid):
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        return True

    def close(self) -> None:
        if self.handle is not None:
            os.close(self.handle)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except _NOT_OURS:
        return False
    return True


@dataclass
class Orders:
    """The processes to end and the folders to remove; its methods are the orders it takes."""

    processes: dict[int, WatchedProcess] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def follow(self, pipe: BinaryIO) -> None:
        """Take orders until the other end of the pipe closes."""
        for line in pipe:
            order, *arguments = json.loads(line)
            getattr(self, order)(*arguments)

    def watch(self, pid: int, rank: int, grace: float) -> None:
        self.processes[pid] = WatchedProcess(pid, rank, grace)

    def forget(self, pid: int) -> None:
        if process := self.processes.pop(pid, None):
            process.close()

    def remove(self, folder: str) -> None:
        self.folders.add(folder)

    def keep(self, folder: str) -> None:
        self.folders.discard(folder)

    def end_all(self) -> None:
        for rank in sorted({process.rank for process in self.processes.values()}):
            _end([process for process in self.processes.values() if process.rank == rank])
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


def _end(processes: list[WatchedProcess]) -> None:
    start = time.monotonic()
    for process in processes:
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)  # A stopped process would not see its SIGTERM.
    for process in processes:
        if not process.ended_within(start + process.grace - time.monotonic()):
            process.signal(signal.SIGKILL)
            process.ended_within(KILL_TIMEOUT_S)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orders = Orders()
    orders.follow(sys.stdin.buffer)
    orders.end_all()


if __name__ == "__main__":
    main()
