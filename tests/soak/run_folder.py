"""The folder of one leg. The next soak removes that of one that was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "soak-"
OWNER = "owner.pid"
"""The file that names the process which uses the folder; it goes when that ends in order."""


def make_folder(leg: str, parent: Path | None = None) -> Path:
    """Make a new folder for a leg, by default among the temporary files."""
    parent = parent or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{leg}-", dir=parent))
    (folder / OWNER).write_text(str(os.getpid()))
    return folder


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of soaks that were killed. Their processes and mounts ended with them."""
    for owner in parent.glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError, ValueError):
            if not _runs(int(owner.read_text())):
                shutil.rmtree(owner.parent, ignore_errors=True)


def release(folder: Path, *, keep: bool) -> None:
    """Remove the folder, or leave it to whoever reads its logs."""
    (folder / OWNER).unlink()
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
