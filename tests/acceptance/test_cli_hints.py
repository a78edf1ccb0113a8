"""Hints of the command line: each is followed, on a machine without a fleet, and helps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from speechfleet.cli.app import run

PROGRAM = str(Path(sys.executable).with_name("speechfleet"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("SPEECHFLEET_GRACE", "5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def up() -> Iterator[subprocess.Popen[str]]:
    """`speechfleet up` in another terminal, ready; its stderr is a pipe."""
    process = subprocess.Popen(
        [PROGRAM, "up"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while process.stdout.readline() != "ready\n":
            assert process.poll() is None
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


def test_from_nothing_to_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "Hello.", "--id", "a"]) == 2
    assert "`speechfleet up`" in capsys.readouterr().err
    with up():
        assert run(["submit", "Hello.", "--id", "a"]) == 0
        assert run(["listen", "a", "-o", "a.wav"]) == 0
        assert run(["doctor"]) == 0
        assert run(["env"]) == 0
        out = capsys.readouterr().out
        exports = [line for line in out.splitlines() if line.startswith("export ")]
        script = "; ".join([*exports, f"{PROGRAM} status a"])
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=False,
            env={**os.environ, "XDG_DATA_HOME": "/nowhere"},
        )  # fmt: skip
        assert done.returncode == 0
        assert done.stdout.startswith("a: succeeded, ")
    assert run(["submit", "Later.", "--id", "b"]) == 0
    assert "`speechfleet up` starts one" in capsys.readouterr().err
    assert run(["listen", "b", "-o", "b.wav"]) == 0  # brings the fleet up again


def test_a_drained_fleet_says_so_and_still_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    with up() as process:
        assert run(["drain", "--all"]) == 0
        assert process.stderr is not None
        drained = "was drained and has ended; it is not started again"
        told = (line for line in process.stderr if drained in line)
        assert next(told) != next(told), "of either worker"
        capsys.readouterr()
        assert run(["say", "Still there.", "-o", "c.wav"]) == 0
        assert Path("c.wav").stat().st_size > 10_000


def test_a_worker_joins_the_fleet_of_the_home(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker"]) == 2
    assert "`speechfleet up`" in capsys.readouterr().err
    with up():
        command = [PROGRAM, "worker", "--lanes", "live", "--concurrency", "3"]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert worker.stdout is not None
        boot = worker.stdout.readline().decode().split()[1]
        assert run(["workers"]) == 0
        assert boot in capsys.readouterr().out
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=120)
        assert worker.returncode == 0
