"""Which queues a worker consumes, by what runs in it."""

from __future__ import annotations

from collections import Counter

import pytest

from speechfleet import keys
from speechfleet.jobs import Lane
from speechfleet.settings import Settings
from speechfleet_worker.intake import Intake

BATCH, LIVE = keys.queue(Lane.BATCH, "espeak"), keys.queue(Lane.LIVE, "espeak")


def intake(**settings: object) -> Intake:
    return Intake(Settings.load(**settings), [Lane.LIVE, Lane.BATCH], ["espeak"])


def full(intake: Intake, running: int) -> bool:
    intake.adjust(Counter({BATCH: running}))
    return BATCH in intake.full


def test_batches_leave_room_for_live_jobs() -> None:
    crowded = intake(slots=100)
    assert crowded.admits(BATCH, Counter({BATCH: 74}))
    assert not crowded.admits(BATCH, Counter({BATCH: 75}))
    assert crowded.admits(LIVE, Counter({BATCH: 75}))


def test_a_full_queue_is_resumed_once_an_eighth_of_it_is_free() -> None:
    crowded = intake(slots=100)
    changes: list[frozenset[str]] = []
    crowded.changed = lambda: changes.append(crowded.full)
    seen = [full(crowded, running) for running in (74, 75, 74, 68, 67, 66, 74, 75)]
    assert seen == [False, True, True, True, True, False, False, True]
    assert len(changes) == 3


@pytest.mark.parametrize("slots", range(1, 9))
def test_a_small_limit_is_used_to_the_last_slot(slots: int) -> None:
    small = intake(slots=20, provider_slots={"espeak": slots})
    assert full(small, slots)
    assert not full(small, slots - 1)
