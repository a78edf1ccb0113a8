"""A worker process: its readiness is seen whatever becomes of its log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from speechfleet.embedded.worker_process import WorkerProcess

FULL_DISK = Path("/dev/full")


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs /dev/full")
def test_a_worker_is_ready_though_its_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerProcess, "log_tail", lambda self: "")  # /dev/full has no end
    package = tmp_path / "speechfleet_worker"
    package.mkdir()
    (package / "__init__.py").touch()
    lines = "print('a line for the log', flush=True)\nprint('ready boot-1', flush=True)\n"
    (package / "__main__.py").write_text(lines + "import time\ntime.sleep(60)\n")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    worker = WorkerProcess([], environ=environ, log=FULL_DISK, grace=1.0)
    try:
        assert worker.await_ready(60) == "boot-1"
    finally:
        worker.stop()
