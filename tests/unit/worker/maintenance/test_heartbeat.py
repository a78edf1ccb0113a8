"""When a heartbeat is sent by its thread, and when it is withheld."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from speechfleet_worker.maintenance import heartbeat
from speechfleet_worker.maintenance.heartbeat import Heartbeat


class Client:
    """Stands for a connection; ends the thread after so many looks."""

    def __init__(self, *, broken: bool = False) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.broken = broken

    def eval(self, *command: Any) -> None:
        self.sent.append(command)
        if self.broken:
            raise redis.ConnectionError


def run(client: Client, *, age: float, works: bool, looks: int = 3) -> None:
    """Let it look so many times."""
    left = looks

    def sent_at() -> float:
        nonlocal left
        left -= 1
        if not left:
            thread._stopped.set()
        return time.monotonic() - age

    thread = Heartbeat(client, "boot", "script", sent_at=sent_at, works=lambda: works)  # type: ignore[arg-type]  # a stand-in
    thread.run()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL_S", 0)


def test_a_busy_loop_is_stood_in_for() -> None:
    client = Client()
    run(client, age=10, works=True)
    assert [command[-1] for command in client.sent] == ["boot"] * 3


def test_a_loop_that_sends_its_own_is_left_to_it() -> None:
    client = Client()
    run(client, age=0, works=True)
    assert client.sent == []


def test_a_worker_that_cannot_work_sends_none_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client()
    run(client, age=10, works=False)
    assert client.sent == []
    assert caplog.text.count("sends no heartbeat") == 1


def test_a_server_that_is_away_is_tried_again() -> None:
    client = Client(broken=True)
    run(client, age=10, works=True)
    assert len(client.sent) == 3
