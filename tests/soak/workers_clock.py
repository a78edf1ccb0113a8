"""The clock of the workers, which can be set wrong while they run (libfaketime)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

NOTICED_WITHIN_S = 10
"""Seconds after which every worker has the time that was set."""


class WorkersClock:
    """Sets the wall clock of all workers; their monotonic clock goes on, as in life."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            # It reads the environment as often, in any thread, which must not happen while a
            # worker that starts changes that: a segmentation fault.
            "FAKETIME_CACHE_DURATION": str(NOTICED_WITHIN_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        self.set_ahead(0)

    @classmethod
    def find(cls, file: Path) -> WorkersClock | None:
        """Use the library of the package `libfaketime`; None where it is not installed."""
        spec = find_spec("libfaketime")
        if spec is None or spec.origin is None:
            return None
        found = sorted(Path(spec.origin).parent.glob("vendor/**/libfaketime.so.1"))
        return cls(found[0], file) if found else None

    def set_ahead(self, seconds: int) -> None:
        """Make it differ from the true time, within `NOTICED_WITHIN_S`."""
        self._file.write_text(f"{seconds:+d}\n")
