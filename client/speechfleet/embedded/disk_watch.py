"""Warns when the disk of an embedded fleet is full: server and workers only wait then."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from speechfleet.embedded.watch import Watch

_log = logging.getLogger("speechfleet.embedded")

CHECK_INTERVAL_S = 3.0
PROBE_BYTES = 64 << 10
PROBE_NAME = ".space"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class DiskWatch(Watch):
    """Writes a little to a folder now and then, in a thread of its own."""

    def __init__(self, folder: Path, *, interval: float = CHECK_INTERVAL_S) -> None:
        super().__init__("watch disk", interval)
        self._folder = folder
        self._is_full = False

    def check(self) -> None:
        """Write the probe, and warn where that fails or works again."""
        reason = _refusal(self._folder / PROBE_NAME)
        if reason and not self._is_full:
            _log.warning(
                "nothing can be stored in %s: %s; the fleet waits, and goes on by itself once "
                "there is space on that disk",
                self._folder, reason,
            )  # fmt: skip
        elif self._is_full and not reason:
            _log.warning("there is space in %s again", self._folder)
        self._is_full = bool(reason)


def _refusal(probe: Path) -> str:
    """Why a file cannot be written; "" where it can, or where it is no matter of space."""
    try:
        try:
            probe.write_bytes(bytes(PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in FULL else ""
    return ""
