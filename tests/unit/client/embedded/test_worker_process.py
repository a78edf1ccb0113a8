"""A worker process: its readiness is seen whatever becomes of its log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from speechfleet.embedded import worker_process
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import MisconfiguredError

FULL_DISK = Path("/dev/full")


def started(folder: Path, program: str, *, log: Path) -> WorkerProcess:
    """Start a worker that is this program."""
    package = folder / "speechfleet_worker"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(program)
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    return WorkerProcess([], environ=environ, log=log, grace=1.0)


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs /dev/full")
def test_a_worker_is_ready_though_its_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerProcess, "log_tail", lambda self: "")  # /dev/full has no end
    lines = "print('a line for the log', flush=True)\nprint('ready boot-1', flush=True)\n"
    worker = started(tmp_path, lines + "import time\ntime.sleep(240)\n", log=FULL_DISK)
    try:
        assert worker.await_ready(120) == "boot-1"
    finally:
        worker.stop()


def test_a_worker_that_ends_some_time_after_its_output_tells_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "END_TIMEOUT_S", 60.0)
    program = "import os, time\nos.close(1)\ntime.sleep(0.5)\nos._exit(3)\n"
    worker = started(tmp_path, program, log=tmp_path / "log")
    with pytest.raises(MisconfiguredError, match="ended while starting, with status 3"):
        worker.await_ready(120)
