"""The demo, as `make demo` runs it: twice, since the second run must not pay again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

WITHIN_S = 900.0
"""A run takes a minute, where the machine does nothing else."""


def demo(data: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "speechfleet.demo", "--data", str(data)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "NOT SO" not in done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(2 * WITHIN_S)
def test_the_demo_keeps_what_it_claims_and_pays_once(tmp_path: Path) -> None:
    first = demo(tmp_path / "data")
    assert "✓ all 186 are spoken" in first
    assert re.search(r"✓ the same call resumed: [1-9]\d* were done, [1-9]\d* were left", first)
    assert "✓ a finished corpus costs nothing: 186 of 186 were done" in first
    assert "kill -9   of worker" in first
    assert "✓ another worker continued" in first
    assert re.search(r"✓ none of the [1-9]\d* finished segments was asked for again", first)
    assert "✓ the stream has its one terminal entry" in first
    assert "✓ it is CANCELLED after" in first
    assert "✓ both are one job, spoken once: 1 call" in first
    example = re.search(r"✓ an example to play: (\S+)", first)
    assert example
    assert Path(example[1]).read_bytes()[:4] == b"RIFF"
    second = demo(tmp_path / "data")
    assert "✓ this run paid for 0 characters; 189 of 189 jobs were there" in second
    assert "kill -9" not in second


def test_the_demo_needs_two_workers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "speechfleet.demo", "--data", str(tmp_path), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "one of them is killed" in done.stderr
