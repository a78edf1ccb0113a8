"""Notice every process of the fleet that ends without a fault having ended it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from speechfleet.embedded.child_process import ChildProcess
from speechfleet.embedded.worker_process import WorkerProcess
from tests.soak.starting import crashed_while_starting

_log = logging.getLogger(__name__)

INTERVAL_S = 0.2
TAIL_LINES = 15


@dataclass(frozen=True)
class Watched:
    """A process of the fleet. ``status``: its exit status, None while it runs.

    ``excused``: whether an end with this status is not the fleet's fault.
    """

    name: str
    pid: int
    status: Callable[[], int | None]
    log: Path
    excused: Callable[[int], bool] = lambda status: False

    @classmethod
    def worker(cls, worker: WorkerProcess, *, may_crash: bool) -> Watched:
        """Watch a worker. ``may_crash``: at its start, by the library that sets its clock."""
        watched = cls.child(worker.log.stem, worker)
        if not may_crash:
            return watched
        return replace(watched, excused=partial(crashed_while_starting, worker))

    @classmethod
    def child(cls, name: str, child: ChildProcess) -> Watched:
        """Watch a process of an embedded fleet."""
        return cls(name, child.pid, lambda: None if child.running else child.wait(), child.log)

    @classmethod
    def popen(cls, name: str, process: subprocess.Popen[bytes], log: Path) -> Watched:
        """Watch a plain child process."""
        return cls(name, process.pid, process.poll, log)


class ProcessWatch:
    """Look at the processes of a stage; ``found`` gets a line for each unexpected end.

    ``ended``: pids that a fault has ended or asked to end.
    """

    def __init__(
        self, processes: Callable[[], list[Watched]], ended: set[int], found: list[str]
    ) -> None:
        self._processes = processes
        self._ended = ended
        self._found = found
        self._known: dict[int, Watched] = {}
        self.excused = 0
        """Workers that died of SIGSEGV before they took jobs."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(INTERVAL_S)

    def look(self) -> None:
        # Those that are known already are asked, too: a dead worker is replaced in the fleet's
        # list within a moment.
        self._known |= {process.pid: process for process in self._processes()}
        for pid, process in list(self._known.items()):
            if (status := process.status()) is None:
                continue
            del self._known[pid]
            if pid in self._ended:
                continue
            self._ended.add(pid)
            if process.excused(status):
                _log.warning("%s crashed while it started", process.name)
                self.excused += 1
            else:
                self._found.append(
                    f"{process.name} ended by itself with status {status}; the end of its log:\n"
                    + _tail(process.log)
                )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError as error:
        lines = [f"({error})"]
    return "\n".join(f"    {line}" for line in lines) or "    (it is empty)"
