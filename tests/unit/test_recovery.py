"""Who is dead, and which messages are lost: judged without a clock."""

from speechfleet.message import Hint
from speechfleet_worker.recovery import LOST_AFTER, SILENCE, LostMessages, Observer


def looks(observer: Observer, start: float, stop: float, **beats: int) -> list[str]:
    """Looks every half second; what the last one says."""
    dead: list[str] = []
    steps = int((stop - start) / 0.5)
    for step in range(steps + 1):
        dead = observer.look(start + step * 0.5, "run-1", beats)
    return dead


def test_a_boot_that_beats_is_alive() -> None:
    observer = Observer()
    for step in range(20):
        assert observer.look(step * 0.5, "run-1", {"a": step}) == []


def test_a_boot_that_stands_still_is_dead_after_the_silence() -> None:
    observer = Observer()
    assert looks(observer, 0, SILENCE - 0.5, a=1) == []
    assert looks(observer, SILENCE, SILENCE, a=1) == ["a"]


def test_a_gap_in_the_looks_starts_the_count_again() -> None:
    observer = Observer()
    looks(observer, 0, 2.5, a=1)
    assert looks(observer, 10.5, 10.5 + SILENCE - 0.5, a=1) == []
    assert looks(observer, 10.5 + SILENCE, 10.5 + SILENCE, a=1) == ["a"]


def test_a_restart_of_the_server_starts_the_count_again() -> None:
    observer = Observer()
    looks(observer, 0, 2.5, a=1)
    assert observer.look(3.0, "run-2", {"a": 1}) == []
    assert observer.look(3.5, "run-2", {"a": 1}) == []


def test_a_message_is_lost_only_when_it_stays_in_nobodys_hands() -> None:
    lost, hint = LostMessages(), Hint("default/a", "7")
    assert lost.look(0.0, {hint}) == set()
    assert lost.look(LOST_AFTER - 0.1, {hint}) == set()
    assert lost.look(LOST_AFTER, {hint}) == {hint}


def test_one_that_was_seen_elsewhere_meanwhile_begins_anew() -> None:
    lost, hint = LostMessages(), Hint("default/a", "7")
    lost.look(0.0, {hint})
    lost.look(1.0, set())
    assert lost.look(LOST_AFTER, {hint}) == set()
