"""The watch over a server's file: after a full disk it asks for a rewrite until one succeeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechfleet.embedded import append_only_watch
from speechfleet.embedded.append_only_watch import MENDED, AppendOnlyWatch
from speechfleet.errors import FleetUnavailable
from speechfleet.ledger.append_only_file import Rewrite

UNDER_WAY = Rewrite(under_way=True, succeeded=True)
SUCCEEDED = Rewrite(under_way=False, succeeded=True)
FAILED = Rewrite(under_way=False, succeeded=False)


class Server:
    """Answers as it is told, one state a look, and counts the rewrites that were begun."""

    def __init__(self) -> None:
        self.states: list[Rewrite | None] = []
        self.begun = 0

    def state(self, url: str) -> Rewrite:
        state = self.states.pop(0)
        if state is None:
            raise FleetUnavailable("away")
        return state

    def begin(self, url: str) -> None:
        self.begun += 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(append_only_watch, "rewrite_state", server.state)
    monkeypatch.setattr(append_only_watch, "begin_rewrite", server.begin)
    return server


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = tmp_path / "valkey.log"
    log.write_bytes(b"of an earlier run: " + MENDED + b"\n")
    return log


def tell(log: Path, line: bytes) -> None:
    with log.open("ab") as file:
        file.write(line + b"\n")


def looks(watch: AppendOnlyWatch, number: int) -> list[bool]:
    return [watch.check() for _ in range(number)]


def test_a_file_that_met_no_full_disk_is_left_alone(server: Server, log: Path) -> None:
    watch = AppendOnlyWatch(log, "redis://server")
    tell(log, b"Background saving started")
    assert looks(watch, 2) == [True, True]
    assert server.begun == 0


def test_a_full_disk_is_followed_by_one_rewrite(server: Server, log: Path) -> None:
    watch = AppendOnlyWatch(log, "redis://server")
    tell(log, MENDED)
    server.states = [SUCCEEDED, UNDER_WAY, SUCCEEDED]
    assert looks(watch, 4) == [False, False, True, True]
    assert server.begun == 1


def test_a_rewrite_that_was_under_way_does_not_count(server: Server, log: Path) -> None:
    watch = AppendOnlyWatch(log, "redis://server")
    tell(log, MENDED)
    server.states = [UNDER_WAY, SUCCEEDED, SUCCEEDED]
    assert looks(watch, 3) == [False, False, True]
    assert server.begun == 1


def test_a_rewrite_that_meets_a_full_disk_is_followed_by_another(
    server: Server, log: Path
) -> None:
    watch = AppendOnlyWatch(log, "redis://server")
    tell(log, MENDED)
    server.states = [SUCCEEDED, FAILED, SUCCEEDED]
    assert looks(watch, 3) == [False, False, True]
    assert server.begun == 2

    tell(log, MENDED)
    server.states = [SUCCEEDED]
    watch.check()
    tell(log, MENDED)
    server.states = [SUCCEEDED, SUCCEEDED]
    assert looks(watch, 2) == [False, True]
    assert server.begun == 4


def test_a_server_that_is_away_is_asked_again(server: Server, log: Path) -> None:
    watch = AppendOnlyWatch(log, "redis://server")
    tell(log, MENDED)
    server.states = [None, SUCCEEDED, SUCCEEDED]
    assert looks(watch, 3) == [False, False, True]


def test_a_log_that_was_rotated_is_read_from_its_beginning(server: Server, log: Path) -> None:
    watch = AppendOnlyWatch(log, "redis://server")
    log.write_bytes(MENDED + b"\n")
    server.states = [SUCCEEDED, SUCCEEDED]
    assert looks(watch, 2) == [False, True]


def test_a_log_that_is_gone_says_nothing(server: Server, log: Path) -> None:
    watch = AppendOnlyWatch(log, "redis://server")
    log.unlink()
    assert watch.check()
