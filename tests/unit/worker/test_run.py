"""What a worker process does by what it serves."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from speechfleet.request import Lane
from speechfleet.settings import Settings, Timeouts
from speechfleet_worker import run
from speechfleet_worker.run import Assignment, begin_rehearsal, with_listeners


@pytest.mark.parametrize(("silence", "expected"), [(20.0, 3.0), (1.5, 1.5)], ids=["long", "short"])
def test_a_session_waits_for_the_shorter_silence(silence: float, expected: float) -> None:
    timeouts = Timeouts(connect=1.0, first_audio=9.0, silence=silence, call=90.0)
    changed = with_listeners(Settings(timeouts=timeouts)).timeouts
    assert changed == Timeouts(connect=1.0, first_audio=9.0, silence=expected, call=90.0)


@pytest.mark.parametrize("lane", [Lane.SESSION, Lane.LIVE], ids=str)
def test_sessions_are_taken_after_the_rehearsal(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def rehearse(names: Sequence[str], settings: Settings) -> None:
        assert names == ("openai",)
        may_end.wait()
        ended.set()

    monkeypatch.setattr(run, "rehearse", rehearse)
    if lane is Lane.SESSION:
        threading.Timer(0.01, may_end.set).start()
    begin_rehearsal(Settings(), Assignment((lane,), ("openai",), {}))
    assert ended.is_set() == (lane is Lane.SESSION)
    may_end.set()
    assert ended.wait(60)
