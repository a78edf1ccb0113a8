"""Who is dead, and which messages are lost: judged without a clock."""

from speechfleet.ledger.message import JobMessage
from speechfleet_worker.maintenance.failure_detector import (
    DEAD_AFTER_S,
    LOST_AFTER_S,
    FailureDetector,
    LostMessages,
)


def looks(observer: FailureDetector, start: float, stop: float, **beats: int) -> list[str]:
    """Looks every half second; what the last one says."""
    dead: list[str] = []
    steps = int((stop - start) / 0.5)
    for step in range(steps + 1):
        dead = observer.look(start + step * 0.5, 1, beats)
    return dead


def test_a_boot_that_beats_is_alive() -> None:
    observer = FailureDetector()
    for step in range(20):
        assert observer.look(step * 0.5, 1, {"a": step}) == []


def test_a_boot_that_stands_still_is_dead_after_the_silence() -> None:
    observer = FailureDetector()
    assert looks(observer, 0, DEAD_AFTER_S - 0.5, a=1) == []
    assert looks(observer, DEAD_AFTER_S, DEAD_AFTER_S, a=1) == ["a"]


def test_a_gap_in_the_looks_starts_the_count_again() -> None:
    observer = FailureDetector()
    looks(observer, 0, 2.5, a=1)
    assert looks(observer, 10.5, 10.5 + DEAD_AFTER_S - 0.5, a=1) == []
    assert looks(observer, 10.5 + DEAD_AFTER_S, 10.5 + DEAD_AFTER_S, a=1) == ["a"]


def test_a_restart_of_the_server_starts_the_count_again() -> None:
    observer = FailureDetector()
    looks(observer, 0, 2.5, a=1)
    assert observer.look(3.0, 2, {"a": 1}) == []
    assert observer.look(3.5, 2, {"a": 1}) == []


def test_a_message_is_lost_only_when_it_stays_in_nobodys_hands() -> None:
    lost, hint = LostMessages(), JobMessage("default/a", "7")
    assert lost.look(0.0, {hint}) == set()
    assert lost.look(LOST_AFTER_S - 0.1, {hint}) == set()
    assert lost.look(LOST_AFTER_S, {hint}) == {hint}


def test_one_that_was_seen_elsewhere_meanwhile_begins_anew() -> None:
    lost, hint = LostMessages(), JobMessage("default/a", "7")
    lost.look(0.0, {hint})
    lost.look(1.0, set())
    assert lost.look(LOST_AFTER_S, {hint}) == set()
