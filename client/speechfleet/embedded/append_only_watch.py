"""Has the server write its append-only file anew once a full disk has room again."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from speechfleet.embedded.watch import Watch
from speechfleet.errors import FleetUnavailable
from speechfleet.ledger.append_only_file import begin_rewrite, rewrite_state

_log = logging.getLogger("speechfleet.embedded")

CHECK_INTERVAL_S = 1.0
_WAIT_INTERVAL_S = 0.1
MENDED = b"AOF write error looks solved"
"""The line of the server once it can write again; before, its log is on the full disk, too."""


class AppendOnlyWatch(Watch):
    """Watch a server's log, in a thread of its own; `url` is that of the server.

    A Valkey or Redis that has rewritten its file since its start takes a short write back at a
    place of the file before that. So zeros get into the file, or its end is lost, and the next
    start refuses it. What the server has in memory is right, and becomes the file.
    """

    def __init__(self, log: Path, url: str, *, interval: float = CHECK_INTERVAL_S) -> None:
        super().__init__("watch file", interval)
        self._log = log
        self._url = url
        self._read_to = log.stat().st_size if log.exists() else 0
        self._spoilt = False
        self._asked = False
        self._lock = threading.Lock()

    def check(self) -> bool:
        """Read what is new in the log, and begin what the file needs; tell if it is whole."""
        with self._lock:
            if MENDED in self._news():
                # Also where a rewrite is under way: its file may have been open at that moment.
                self._spoilt, self._asked = True, False
            if self._spoilt:
                try:
                    self._rewrite()
                except FleetUnavailable as error:
                    _log.info("the append-only file is not rewritten yet: %s", error)
            return not self._spoilt

    def wait(self, timeout: float) -> None:
        """Wait until the file is whole. Raises TimeoutError."""
        end = time.monotonic() + timeout
        while not self.check():
            if time.monotonic() > end:
                raise TimeoutError(f"the append-only file is not whole after {timeout:g} s")
            time.sleep(_WAIT_INTERVAL_S)

    def _rewrite(self) -> None:
        rewrite = rewrite_state(self._url)
        if rewrite.under_way:
            return
        if self._asked and rewrite.succeeded:
            self._spoilt = self._asked = False
            _log.info("the append-only file is whole again")
            return
        begin_rewrite(self._url)
        self._asked = True

    def _news(self) -> bytes:
        try:
            with self._log.open("rb") as log:
                if log.seek(0, 2) < self._read_to:  # it was rotated
                    self._read_to = 0
                log.seek(self._read_to)
                news = log.read()
        except OSError:
            return b""
        self._read_to += len(news)
        return news
