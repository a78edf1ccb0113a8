"""Lists the Pythons that can run the fast tests: one path a line, the oldest version first.

Looks on PATH and in ~/.pyenv/versions for versions from 3.11 on, one of each minor version. The
Python that runs this is left out: its tests have run already.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
NAME = re.compile(r"python3\.\d+")


def candidates() -> Iterator[Path]:
    """Yield every python3.N on PATH and of pyenv."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    for folder in folders:
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if NAME.fullmatch(path.name))


def version_of(python: Path) -> tuple[int, int] | None:
    """Ask an interpreter for its version; None where it does not run, as pyenv's shims."""
    program = "import sys, venv; print(*sys.version_info[:2])"
    done = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        return None
    major, minor = done.stdout.split()
    return int(major), int(minor)


def main() -> None:
    """Print the paths."""
    found: dict[tuple[int, int], Path] = {}
    for python in candidates():
        version = version_of(python)
        if version is not None and version >= OLDEST:
            found.setdefault(version, python)
    found.pop(sys.version_info[:2], None)
    for _, python in sorted(found.items()):
        sys.stdout.write(f"{python}\n")


if __name__ == "__main__":
    main()
