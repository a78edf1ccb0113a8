"""The data folder of an embedded fleet: this user's own, and closed to everybody else."""

from __future__ import annotations

import os
from pathlib import Path

from speechfleet.errors import MisconfiguredError

CLOSED = 0o700
SUBFOLDERS = ("store", "logs", "valkey")


def default_folder() -> Path | None:
    """Return the folder of this user's fleet; None where no home can be written to.

    ``$XDG_DATA_HOME/speechfleet``, else ``~/.local/share/speechfleet`` (XDG Base Directory
    Specification).
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    try:
        # The specification: a path that is not absolute is to be ignored.
        home = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share"
        folder = home / "speechfleet"
        folder.mkdir(mode=CLOSED, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def make_folders(data: Path) -> None:
    """Make the data folder and those in it, and close them to other users.

    Raises MisconfiguredError where another user owns one of them: that user could read every
    text and replace the audio.
    """
    for folder in (data, *(data / name for name in SUBFOLDERS)):
        folder.mkdir(mode=CLOSED, parents=True, exist_ok=True)
        close_to_others(folder)


def close_to_others(folder: Path) -> None:
    """Leave no rights on a folder to group and others. Raises MisconfiguredError."""
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise MisconfiguredError(
            f"{folder} belongs to another user (uid {found.st_uid}), who could read what is "
            "spoken there: name a folder of your own with --data",
            code="foreign_folder",
        )
    if found.st_mode & 0o077:
        folder.chmod(CLOSED)
