"""Task events wait for each other, and none waits for another for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from speechfleet_worker.task_events import INTERVAL_S, JobConsumer


class StubTimer:
    """Keeps what it is asked to call."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def call_after(self, seconds: float, function: Callable[[], None]) -> None:
        self.calls.append((seconds, function))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the consumer, which a test changes."""
    clock = [100.0]
    monkeypatch.setattr("speechfleet_worker.task_events.time.monotonic", lambda: clock[0])
    return clock


def make_consumer(timer: StubTimer) -> JobConsumer:
    consumer = JobConsumer.__new__(JobConsumer)
    consumer.timer, consumer._sends_at = timer, 0.0
    return consumer


def test_events_of_one_moment_are_sent_together(now: list[float]) -> None:
    timer = StubTimer()
    consumer = make_consumer(timer)
    for _ in range(5):
        consumer.on_send_event_buffered()
        now[0] += INTERVAL_S / 10
    assert timer.calls == [(INTERVAL_S, consumer._flush_events)]


def test_events_are_sent_also_where_the_timer_was_lost(now: list[float]) -> None:
    timer = StubTimer()
    consumer = make_consumer(timer)
    consumer.on_send_event_buffered()
    timer.calls.clear()  # with the connection
    now[0] += INTERVAL_S
    consumer.on_send_event_buffered()
    assert len(timer.calls) == 1
