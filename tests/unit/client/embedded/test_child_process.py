"""The log of a child process: rotated while it runs, and read from where it goes on."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from speechfleet.embedded import child_process
from speechfleet.embedded.child_process import ChildProcess
from speechfleet.observability.logs import rotate


def test_a_large_log_is_rotated_while_its_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated = threading.Event()

    def small(path: Path) -> bool:
        done = rotate(path, limit=1000)
        if done:
            rotated.set()
        return done

    monkeypatch.setattr(child_process, "ROTATION_INTERVAL_S", 0.01)
    monkeypatch.setattr(child_process, "rotate", small)
    log = tmp_path / "child.log"
    log.write_text("what another process wrote before\n" * 20)
    command = [sys.executable, "-c", "import time\nprint('x' * 2000, flush=True)\ntime.sleep(240)"]
    child = ChildProcess(command, log=log, rank=1, grace=1.0)
    try:
        assert rotated.wait(120)
        assert "xxx" in log.with_name("child.log.1").read_text()
        assert child.log_tail() == "(its log is empty)"
    finally:
        child.stop()
