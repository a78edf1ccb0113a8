"""Joins the fleet that another process of this user runs on a data folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from speechfleet.ledger.connection import answers

_FLEET = "fleet.json"
_GUESTS = "guests.lock"


class SharedFleet:
    """An embedded fleet of another process, used as a guest.

    Its owner waits for `close` before it stops the fleet, unless it is interrupted. ``pid`` is
    the owner's; ``lock`` a descriptor that holds the guests' lock.
    """

    def __init__(self, redis_url: str, store_url: str, pid: int, lock: int) -> None:
        self.redis_url = redis_url
        self.store_url = store_url
        self.pid = pid
        self._lock: int | None = lock

    @property
    def environ(self) -> dict[str, str]:
        """The settings by which a client reaches it."""
        return {"SPEECHFLEET_REDIS_URL": self.redis_url, "SPEECHFLEET_STORE": self.store_url}

    def __enter__(self) -> SharedFleet:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the owner stop. Idempotent."""
        # Once only: the number of a closed descriptor is soon another file's.
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def announce(data: Path, redis_url: str, store_url: str) -> None:
    """Write the file by which other processes of this user join."""
    (data / _GUESTS).touch(mode=0o600)
    text = json.dumps({"redis_url": redis_url, "store_url": store_url, "pid": os.getpid()})
    unfinished = data / f"{_FLEET}.{os.getpid()}"
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(data / _FLEET)


def withdraw(data: Path) -> None:
    """Remove the file, so that nobody joins any more. Idempotent."""
    (data / _FLEET).unlink(missing_ok=True)


@contextmanager
def without_guests(data: Path) -> Iterator[None]:
    """Wait until no guest is left, and admit none while the body runs."""
    lock = os.open(data / _GUESTS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def join(data: Path) -> SharedFleet | None:
    """Join the fleet that runs on a folder; None where none does, or where it is stopping."""
    try:
        lock = os.open(data / _GUESTS, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    # A file that does not parse was written by another version: it cannot be joined.
    with suppress(BlockingIOError, FileNotFoundError, ValueError, KeyError):
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        announced = json.loads((data / _FLEET).read_text())
        if answers(announced["redis_url"]):
            return SharedFleet(
                announced["redis_url"], announced["store_url"], announced["pid"], lock
            )
    os.close(lock)
    return None
