"""The guard's own program, with processes that stand for workers and servers."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from speechfleet.embedded import reaper
from speechfleet.embedded.reaper import Orders, WatchedProcess

_TELLS = """
import os, signal, sys
deaf = sys.argv[1:] == ["deaf"]
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else lambda *_: os._exit(0))
os.write(1, b"here\\n")
while True: signal.pause()
"""


class Processes:
    def __init__(self) -> None:
        self.all: list[subprocess.Popen[str]] = []

    def start(self, *args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-I", "-S", "-c", _TELLS, *args]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.all.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        return process


@pytest.fixture
def processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    for process in processes.all:
        process.kill()
        process.communicate()


def orders(*lines: list[object]) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def test_ends_all_it_was_given_and_removes_folders(processes: Processes, tmp_path: Path) -> None:
    one, other = processes.start(), processes.start()
    for name in ("removed", "kept"):
        (tmp_path / name).mkdir()
    watch = Orders()
    watch.follow(
        orders(
            ["watch", one.pid, 1, 60.0],
            ["watch", other.pid, 2, 60.0],
            ["remove", str(tmp_path / "removed")],
            ["remove", str(tmp_path / "kept")],
            ["keep", str(tmp_path / "kept")],
        )
    )
    watch.end_all()
    assert [one.wait(0), other.wait(0)] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_it_was_told_to_forget_lives_on(processes: Processes) -> None:
    process = processes.start()
    watch = Orders()
    watch.follow(orders(["watch", process.pid, 1, 60.0], ["forget", process.pid]))
    watch.end_all()
    assert process.poll() is None


def test_lower_ranks_are_gone_before_higher_ones_are_told(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, server = processes.start(), processes.start()
    signals: list[tuple[int, bool]] = []
    send = WatchedProcess.signal

    def recorded(process: WatchedProcess, number: int) -> None:
        signals.append((process.pid, worker.poll() is None))
        send(process, number)

    monkeypatch.setattr(WatchedProcess, "signal", recorded)
    watch = Orders()
    watch.follow(orders(["watch", server.pid, 2, 60.0], ["watch", worker.pid, 1, 60.0]))
    watch.end_all()
    assert [pid for pid, _ in signals] == [worker.pid] * 2 + [server.pid] * 2
    assert [alive for pid, alive in signals if pid == server.pid] == [False, False]


@pytest.mark.parametrize("handles", [True, False], ids=["pidfd", "pid"])
def test_kills_what_does_not_end_within_its_grace(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, handles: bool
) -> None:
    if not handles:
        monkeypatch.setattr("sys.platform", "elsewhere")
    process = processes.start("deaf")
    watch = Orders()
    watch.follow(orders(["watch", process.pid, 1, 0.1]))
    monkeypatch.setattr(reaper, "KILL_TIMEOUT_S", 0.0)
    watch.end_all()
    assert process.wait(60) == -signal.SIGKILL


def test_a_process_that_is_gone_is_no_error(processes: Processes) -> None:
    process = processes.start()
    process.kill()
    process.wait(60)
    watch = Orders()
    watch.follow(orders(["watch", process.pid, 1, 60.0], ["forget", 1]))
    watch.end_all()
