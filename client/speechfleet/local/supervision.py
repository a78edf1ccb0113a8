"""Starting again what died unasked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from speechfleet.errors import MisconfiguredError

_log = logging.getLogger("speechfleet.local")

FIRST_PAUSE = 0.25
LAST_PAUSE = 30.0
STEADY = 60.0
"""Seconds; what lived as long as this has not failed to start."""


class Ending(Protocol):
    def wait(self) -> int:
        """The exit status, once it has ended."""


def keep_alive(
    name: str, running: Ending, again: Callable[[], Ending], stopping: threading.Event
) -> threading.Thread:
    """Start it ``again`` whenever it ended with a status other than 0, until ``stopping``.

    Status 0 is an end that somebody asked for. The pause before each start doubles from
    `FIRST_PAUSE` to `LAST_PAUSE` seconds, until something lives for `STEADY` seconds. Runs
    in a thread of its own, which it returns.
    """
    args = (name, running, again, stopping)
    thread = threading.Thread(target=_keep, args=args, name=f"keep {name}", daemon=True)
    thread.start()
    return thread


def _keep(
    name: str, running: Ending, again: Callable[[], Ending], stopping: threading.Event
) -> None:
    pause = FIRST_PAUSE
    while True:
        start = time.monotonic()
        status = running.wait()
        if status == 0 or stopping.is_set():
            return
        if time.monotonic() - start > STEADY:
            pause = FIRST_PAUSE
        _log.warning("%s ended with status %d; starting it again", name, status)
        restarted = None
        while restarted is None:
            if stopping.wait(pause):
                return
            pause = min(2 * pause, LAST_PAUSE)
            restarted = _try(name, again)
        running = restarted


def _try(name: str, again: Callable[[], Ending]) -> Ending | None:
    try:
        return again()
    except (MisconfiguredError, OSError) as error:
        _log.warning("%s did not start: %s", name, error)
        return None
