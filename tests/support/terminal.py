"""Run programs in a real terminal of a given size, and read what they show."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = 50
END = "\x04end of command\x04"
"""Printed between two commands of `screens`."""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def set_width(terminal: int, columns: int) -> None:
    """Set the size of a terminal, as its window would."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))


def environment(extra: Mapping[str, str], *, colour: bool) -> dict[str, str]:
    """The environment of a program in a colour terminal, or of one that asked for none."""
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environ |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **extra}
    return environ if colour else {**environ, "NO_COLOR": "1"}


def run(
    command: Sequence[str], columns: int, extra: Mapping[str, str], *, colour: bool
) -> tuple[int, str]:
    """Run a command to its end; its exit status and everything the terminal was sent."""
    ours, theirs = pty.openpty()
    set_width(theirs, columns)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=environment(extra, colour=colour),
    )  # fmt: skip
    os.close(theirs)
    output = b""
    try:
        while data := os.read(ours, 65_536):
            output += data
    except OSError:  # Linux: the last process has closed the other end
        pass
    finally:
        os.close(ours)
    return process.wait(), output.decode(errors="replace")


def screens(
    commands: Sequence[Sequence[str]],
    widths: Sequence[int],
    extra: Mapping[str, str],
    *,
    colour: bool,
) -> dict[tuple[str, int], str]:
    """What each speechfleet command shows at each width, without escape sequences.

    One process runs them all: starting one for each takes longer than all the commands.
    """
    runs = [(width, list(command)) for width in widths for command in commands]
    status, output = run(
        [sys.executable, __file__, json.dumps(runs)], widths[0], extra, colour=colour
    )
    assert status == 0, output
    assert ("\x1b[" in output) or not colour
    shown = ESCAPE.sub("", output).replace("\r\n", "\n").split(f"{END}\n")
    assert len(shown) == len(runs) + 1, output
    return {
        (" ".join(command), width): text
        for (width, command), text in zip(runs, shown, strict=False)
    }


def main() -> None:
    """Run the given commands one after another, each at its width."""
    from speechfleet.cli.app import run as command  # noqa: PLC0415 # only in the terminal

    for width, arguments in json.loads(sys.argv[1]):
        set_width(1, width)
        command(arguments)
        os.write(1, f"{END}\n".encode())


if __name__ == "__main__":
    main()
