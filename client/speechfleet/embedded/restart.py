"""Starts processes again that died by accident."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from speechfleet.embedded.reaper import REAPER
from speechfleet.errors import MisconfiguredError

_log = logging.getLogger("speechfleet.embedded")

FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
"""A process that lived this long has started well: its next pause is the first one again."""


class Ending(Protocol):
    """A process that ends some day."""

    def wait(self) -> int:
        """Wait for the end and return the exit status."""


def keep_alive(
    name: str, running: Ending, again: Callable[[], Ending], stopping: threading.Event
) -> threading.Thread:
    """Start a process ``again`` whenever it ends with another status than 0.

    Status 0 is an end that somebody asked for, which is logged. The pause before each start
    doubles from `FIRST_PAUSE_S` to `LAST_PAUSE_S`, until a process lives for `STEADY_AFTER_S`.
    Ends once ``stopping`` is set, or this process ends. Returns the thread that does this.
    """
    args = (name, running, again, stopping)
    thread = threading.Thread(target=_keep, args=args, name=f"keep {name}", daemon=True)
    thread.start()
    return thread


def _keep(
    name: str, running: Ending, again: Callable[[], Ending], stopping: threading.Event
) -> None:
    pause = FIRST_PAUSE_S
    while True:
        start = time.monotonic()
        status = running.wait()
        if stopping.is_set() or REAPER.is_ending:
            return
        if status == 0:
            _log.warning("%s was drained and has ended; it is not started again", name)
            return
        if time.monotonic() - start > STEADY_AFTER_S:
            pause = FIRST_PAUSE_S
        _log.warning("%s ended with status %d; starting it again", name, status)
        restarted = None
        while restarted is None:
            if stopping.wait(pause) or REAPER.is_ending:
                return
            pause = min(2 * pause, LAST_PAUSE_S)
            restarted = _try(name, again)
        running = restarted


def _try(name: str, again: Callable[[], Ending]) -> Ending | None:
    try:
        return again()
    except (MisconfiguredError, OSError) as error:
        _log.warning("%s did not start: %s", name, error)
        return None
