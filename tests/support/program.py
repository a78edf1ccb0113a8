"""The program `speechfleet`, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO, Any

PROGRAM = str(Path(sys.executable).with_name("speechfleet"))


def start(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    """Unbuffered, so that `communicate` gives all that was not read."""
    return subprocess.Popen(
        [PROGRAM, *arguments],
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        **streams,
    )


def line(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.readline().decode().rstrip("\n")
