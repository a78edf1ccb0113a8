"""The soak's own parts: what it must notice, and what it must leave behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.process_watch import ProcessWatch, Watched
from tests.soak.run_folder import OWNER, make_folder, release


@pytest.fixture
def broken(tmp_path: Path) -> Watched:
    """A process that ended by itself."""
    log = tmp_path / "log"
    log.write_text("out of memory\n")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    return Watched.popen("Valkey", process, log)


def test_a_process_that_ends_by_itself_is_told_once_with_its_log(broken: Watched) -> None:
    found: list[str] = []
    watch = ProcessWatch(lambda: [broken], set(), found)
    watch.look()
    watch.look()
    [line] = found
    assert "Valkey ended by itself with status 3" in line
    assert "out of memory" in line


def test_a_process_that_a_fault_has_ended_is_not_told(broken: Watched) -> None:
    found: list[str] = []
    ProcessWatch(lambda: [broken], {broken.pid}, found).look()
    assert found == []


def test_a_worker_is_asked_after_another_took_its_place(broken: Watched) -> None:
    found: list[str] = []
    listed = [broken]
    status: list[int | None] = [None]
    listed[0] = Watched(broken.name, broken.pid, lambda: status[0], broken.log)
    watch = ProcessWatch(lambda: listed, set(), found)
    watch.look()
    listed.clear()
    status[0] = -11
    watch.look()
    assert len(found) == 1


def test_a_soak_that_was_killed_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    killed, running = make_folder("folder", tmp_path), make_folder("folder", tmp_path)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (killed / OWNER).write_text(str(process.pid))
    kept = make_folder("s3", tmp_path)
    release(kept, keep=True)
    make_folder("sentinel", tmp_path)
    assert not killed.exists()
    assert (running / OWNER).read_text() == str(os.getpid())
    assert kept.exists(), "its logs are wanted"
