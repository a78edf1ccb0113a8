"""Standard streams as shells leave them: closed, or on a full disk."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.program import PROGRAM

FULL = Path("/dev/full")


def shell(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f"{shlex.quote(PROGRAM)} {line}"],
        env={**os.environ, "XDG_DATA_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_closed_stdout_is_no_traceback(tmp_path: Path) -> None:
    assert "Traceback" not in shell("jobs >&-", tmp_path).stderr


def test_closed_streams_are_open_on_nothing(tmp_path: Path) -> None:
    assert shell("say - <&- >&- 2>&-", tmp_path).returncode == 2


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--help", "No space left on device"),
        ("say --help", "No space left on device"),
        ("say '' --json", "there is nothing to say: the text is empty or white space"),
    ],
    ids=["help", "help of say", "json"],
)
def test_a_full_disk_behind_stdout_is_one_line(arguments: str, said: str, tmp_path: Path) -> None:
    done = shell(f"{arguments} >{FULL}", tmp_path)
    assert (done.returncode, done.stderr) == (2, f"speechfleet: {said}\n")
