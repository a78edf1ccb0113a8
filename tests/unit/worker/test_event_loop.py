"""The loop's thread: a loop that is kept from running is known to be busy."""

from __future__ import annotations

import threading

import pytest

from speechfleet_worker import event_loop
from speechfleet_worker.event_loop import LoopThread


def test_a_loop_that_runs_is_not_busy_and_one_that_is_blocked_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_loop, "BUSY_AFTER_S", 0.0)
    loop, blocked, release = LoopThread(), threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        release.wait(60)

    async def nothing() -> None:
        """It is there."""

    assert not loop.is_busy()
    loop.run(nothing())
    assert not loop.is_busy(), "it has answered the probe"
    loop.run(nothing())
    loop.loop.call_soon_threadsafe(block)
    assert blocked.wait(60)
    assert not loop.is_busy(), "it was not asked before"
    assert loop.is_busy()
    monkeypatch.setattr(event_loop, "BUSY_AFTER_S", 60.0)
    assert not loop.is_busy(), "not for long enough"
    release.set()
    loop.run(nothing())
    monkeypatch.setattr(event_loop, "BUSY_AFTER_S", 0.0)
    assert not loop.is_busy()
