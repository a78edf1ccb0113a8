"""Small disks that can be full: file systems in memory, which only this process tree sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "SOAK_HAS_OWN_MOUNTS"
SHARED_MEMORY = Path("/dev/shm")
ROOM = "4g"
"""Taken from memory only as far as it is used."""


def with_own_mounts() -> None:
    """Start this program again where it may mount file systems, if it may.

    No right of root is needed: in a user namespace of its own every user is root of that.
    """
    unshare = shutil.which("unshare")
    if MARK in os.environ:
        _use_own_shared_memory()
        return
    if unshare is None:
        return
    alone = [unshare, "--map-root-user", "--mount"]
    if subprocess.run([*alone, "mount", "--version"], capture_output=True, check=False).returncode:
        return
    os.environ[MARK] = "1"
    again = [*alone, sys.executable, "-m", "tests.soak", *sys.argv[1:]]
    os.execv(unshare, again)  # noqa: S606 # a list, no shell wanted


def _use_own_shared_memory() -> None:
    """Keep away from the system what libfaketime leaves there of each process that is killed.

    It is named by process id, so the next process with that id would find it.
    """
    with suppress(subprocess.CalledProcessError):
        _mount("-t", "tmpfs", "-o", "size=64m,mode=1777", "soak", str(SHARED_MEMORY))


class SmallDisk:
    """A disk whose room ends at once, and comes back. `can_be_full`: else it is a plain folder."""

    def __init__(self, folder: Path, *, can_be_full: bool) -> None:
        self._folder = folder
        self.can_be_full = can_be_full

    def fill(self) -> None:
        """Leave no room for another byte: the disk becomes as small as what is on it."""
        status = os.statvfs(self._folder)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        with suppress(subprocess.CalledProcessError):  # it has grown meanwhile: once more
            self._resize(str(used))
            return
        self.fill()

    def free(self) -> None:
        """Give the room back."""
        self._resize(ROOM)

    def _resize(self, size: str) -> None:
        _mount("-o", f"remount,size={size}", str(self._folder))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small disk on a new folder, where this process may; unmount it at the end."""
    folder.mkdir(parents=True)
    if MARK not in os.environ:
        yield SmallDisk(folder, can_be_full=False)
        return
    _mount("-t", "tmpfs", "-o", f"size={ROOM},mode=700", "soak", str(folder))
    try:
        yield SmallDisk(folder, can_be_full=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
