"""Ctrl-C at any moment of a command: status 130, one line, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

PROGRAM = """
import signal
import sys
import speechfleet_command
sys.argv = ["speechfleet", *sys.argv[1:]]
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests ignores it
speechfleet_command.leave_on_interrupt()
sys.stdout.write("started\\n")
sys.stdout.flush()
speechfleet_command.main()
"""


@pytest.mark.parametrize(
    "delay_s",
    [0.0, 0.02, 0.1, 0.3, 0.6, 1.2],
    ids=["at once", "very early", "early", "midway", "late", "very late"],
)
def test_ctrl_c_while_it_is_imported_and_while_it_reads(delay_s: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "say"],
        stdin=subprocess.PIPE,  # never closed: once imported, the command reads it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path)},
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    interrupt = threading.Timer(delay_s, process.send_signal, [signal.SIGINT])
    interrupt.start()
    try:
        process.wait(timeout=60)
    finally:
        interrupt.cancel()
        process.kill()
    assert process.stderr is not None
    with process, process.stderr:
        told = process.stderr.read()
    assert (process.returncode, told) == (130, "speechfleet: interrupted\n")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    program = (
        "import signal, speechfleet_command as c\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "c.leave_on_interrupt()\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_version_is_told_without_importing_the_package() -> None:
    program = (
        "import sys, speechfleet_command\n"
        "sys.argv = ['speechfleet', '--version']\n"
        "speechfleet_command.main()\n"
        "assert 'speechfleet' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("speechfleet 0.")
