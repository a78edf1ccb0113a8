"""The events that stand-in workers report."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path


class Events:
    """What the stand-in workers tell, in order; see `tests/support/stand_in_worker.py`."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Read and write: the pipe never ends while no worker has it open.
        self._pipe = os.open(path, os.O_RDWR)
        self._rest = b""

    def next(self, kind: str, within: float = 180.0) -> list[str]:
        """Wait for the next event of this kind, passing over others; its further words."""
        end = time.monotonic() + within
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                first, *words = line.decode().split()
                if first == kind:
                    return words
            else:
                left = max(0.0, end - time.monotonic())
                assert select.select([self._pipe], [], [], left)[0], f"no event {kind!r}"
                self._rest += os.read(self._pipe, 4096)

    def left(self) -> list[str]:
        """What was told by now and not asked for."""
        while select.select([self._pipe], [], [], 0)[0]:
            self._rest += os.read(self._pipe, 4096)
        lines, self._rest = self._rest.decode().splitlines(), b""
        return lines

    def close(self) -> None:
        os.close(self._pipe)
