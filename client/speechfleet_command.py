"""The console script: answers ``--version``, ``--help`` and Ctrl-C without the rest.

It stands beside the package because importing anything of the package takes some tenths of a
second, in which Ctrl-C would end the command with a traceback.
"""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run the command ``speechfleet``."""
    leave_on_interrupt()
    open_closed_streams()
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version  # noqa: PLC0415 # only here: it takes its time

        sys.stdout.write(f"speechfleet {version('speechfleet')}\n")
        return
    if sys.argv[1:] in (["-h"], ["--help"]):
        from speechfleet.cli.overview import print_help  # noqa: PLC0415 # without the commands

        sys.exit(print_help())
    from speechfleet.cli import main as command  # noqa: PLC0415 # after the handler

    command()


def open_closed_streams() -> None:
    """Open what the caller has closed (`>&-`) on nothing.

    Else the next socket or file gets the number of stdout, and what is printed ends up in it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def leave_on_interrupt() -> None:
    """End at once on Ctrl-C: nothing has been begun, or everything has been ended.

    A SIGINT that the parent process ignores, as `nohup` does, stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    os.write(2, b"speechfleet: interrupted\n")
    os._exit(INTERRUPTED)
