"""The packages that this machine needs to run workers."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from speechfleet.errors import MisconfiguredError, MissingExtra

WORKER_MODULES = ("celery", "uvloop", "av", "sentencex")
"""Top-level packages that a worker imports; the extra ``worker`` installs them."""


def missing_modules() -> list[str]:
    """List the packages of a worker that are not installed."""
    return [name for name in WORKER_MODULES if find_spec(name) is None]


def require_worker(what: str, extra: str) -> None:
    """Raise MissingExtra where packages of a worker are missing."""
    if sys.platform == "win32":
        raise MisconfiguredError(
            f"{what} needs Linux or macOS; on Windows speechfleet is a client: set "
            "SPEECHFLEET_REDIS_URL to a fleet that runs elsewhere"
        )
    if missing_modules():
        raise MissingExtra(what, extra)
