"""Joining the fleet that another process of this user runs on a data folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from speechfleet.local.valkey import answers

_FLEET = "fleet.json"
_GUESTS = "guests.lock"


@dataclass(frozen=True)
class JoinedFleet:
    """Somebody else's embedded fleet, used as a guest.

    Its owner, once it is through with its own work, waits for `close` before it stops the
    fleet; it does not where it is interrupted.
    """

    redis_url: str
    store_url: str
    pid: int
    """Of the owner."""
    _lock: int

    @property
    def environ(self) -> dict[str, str]:
        """What a client needs to reach it."""
        return {"SPEECHFLEET_REDIS_URL": self.redis_url, "SPEECHFLEET_STORE": self.store_url}

    def __enter__(self) -> JoinedFleet:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the owner stop. Idempotent."""
        # A descriptor is a lock held, and a number that is soon another file's: once only.
        lock, released = self._lock, -1
        object.__setattr__(self, "_lock", released)
        if lock != released:
            os.close(lock)


def announce(data: Path, redis_url: str, store_url: str) -> None:
    """Let others join; only this user can read it."""
    (data / _GUESTS).touch(mode=0o600)
    text = json.dumps({"redis_url": redis_url, "store_url": store_url, "pid": os.getpid()})
    unfinished = data / f"{_FLEET}.{os.getpid()}"
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(data / _FLEET)


def withdraw(data: Path) -> None:
    """Nobody joins from here on. Idempotent."""
    (data / _FLEET).unlink(missing_ok=True)


@contextmanager
def without_guests(data: Path) -> Iterator[None]:
    """Wait until no guest is left; none comes in while the body runs."""
    lock = os.open(data / _GUESTS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def join(data: Path) -> JoinedFleet | None:
    """The fleet that runs on this folder, or None: none does, or it is about to stop."""
    try:
        lock = os.open(data / _GUESTS, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    # A file that does not parse was written by another version: not ours to join.
    with suppress(BlockingIOError, FileNotFoundError, ValueError, KeyError):
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        told = json.loads((data / _FLEET).read_text())
        if answers(told["redis_url"]):
            return JoinedFleet(told["redis_url"], told["store_url"], told["pid"], lock)
    os.close(lock)
    return None
