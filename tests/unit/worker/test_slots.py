"""Which queues of a worker have room, by what runs in it, and who gives way to whom."""

from __future__ import annotations

import asyncio

import pytest

from speechfleet.ledger import keys
from speechfleet.request import Lane
from speechfleet.settings import Settings
from speechfleet_worker.providers.built_in import LOCAL_SLOTS
from speechfleet_worker.slots import READY_PART, Slot, Slots

BATCH, LIVE = keys.queue(Lane.BATCH, "espeak"), keys.queue(Lane.LIVE, "espeak")
OTHER = keys.queue(Lane.LIVE, "openai")


def mixed(**settings: object) -> Slots:
    return Slots(Settings.load(**settings), [Lane.LIVE, Lane.BATCH], ["espeak", "openai"])


def run(slots: Slots, queue: str, count: int) -> Slots:
    for _ in range(count):
        assert slots.is_open(queue)
        slots.take(queue)
    return slots


def take(slots: Slots, count: int) -> list[Slot]:
    return [slots.take(BATCH) for _ in range(count)]


def test_batches_fill_every_slot_and_live_jobs_have_a_quarter_more() -> None:
    slots = run(mixed(slots=100), BATCH, 100)
    assert not slots.is_open(BATCH)
    run(slots, LIVE, 25)
    assert not slots.is_open(LIVE)


def test_live_jobs_alone_take_no_more_than_the_slots() -> None:
    slots = run(mixed(slots=100), LIVE, 100)
    assert not slots.is_open(LIVE)
    assert not slots.is_open(BATCH)


def test_a_worker_of_one_lane_has_no_slots_beyond_its_own() -> None:
    slots = Slots(Settings.load(slots=8), [Lane.LIVE], ["espeak"])
    run(slots, LIVE, 8)
    assert not slots.is_open(LIVE)


@pytest.mark.parametrize("limit", range(1, 9))
def test_the_slots_of_a_provider_are_used_to_the_last(limit: int) -> None:
    slots = run(mixed(slots=20, provider_slots={"espeak": limit}), BATCH, limit)
    assert not slots.is_open(BATCH)
    assert not slots.is_open(LIVE)
    assert slots.is_open(OTHER)


def test_room_is_reported_where_there_was_none() -> None:
    slots, reported = mixed(slots=2), list[str]()
    slots.on_room = lambda: reported.append("room")
    slots.take(LIVE).leave()
    assert not reported
    last = [slots.take(LIVE) for _ in range(2)][-1]
    last.leave()
    last.leave()
    assert reported == ["room"]


def test_a_live_job_that_ends_makes_room_for_batches() -> None:
    slots, reported = mixed(slots=8), list[str]()
    live = slots.take(LIVE)
    run(slots, BATCH, 7)
    assert slots.is_open(LIVE)
    assert not slots.is_open(BATCH)
    slots.on_room = lambda: reported.append("room")
    live.leave()
    assert slots.is_open(BATCH)
    assert reported == ["room"]


def test_jobs_that_are_stored_leave_their_slots_as_far_as_that_is_bounded() -> None:
    slots = mixed(slots=2)
    stored = take(slots, 1)
    stored[0].leave_to_store()
    further = take(slots, 2)
    further[0].leave_to_store()
    assert not slots.is_open(BATCH), "half as many as there are slots are being stored"
    stored[0].leave()
    further[0].leave_to_store()
    assert slots.is_open(BATCH)
    for slot in (*stored, *further):
        slot.leave()
    run(slots, BATCH, 2)
    assert not slots.is_open(BATCH), "each was counted once"


def test_a_job_that_speaks_again_holds_its_slot_again() -> None:
    slots = mixed(slots=1)
    slot = slots.take(BATCH)
    slot.leave_to_store()
    assert slots.is_open(BATCH)
    slot.resume()
    assert not slots.is_open(BATCH)
    slot.leave()
    assert slots.is_open(BATCH)


def leave_often(slots: Slots, queue: str, count: int) -> None:
    for _ in range(count):
        slots.take(queue).leave()


def test_a_job_is_made_ready_for_so_many_that_left_a_moment_ago() -> None:
    slots = mixed(slots=8)
    leave_often(slots, BATCH, 2 * READY_PART)
    run(slots, BATCH, 8)
    for _ in range(2):
        assert slots.may_take(BATCH)
        slots.take(BATCH)
    assert not slots.may_take(BATCH)


@pytest.mark.parametrize("queue", [LIVE, OTHER])
def test_a_live_job_waits_where_other_workers_see_it(queue: str) -> None:
    slots = mixed(slots=8)
    leave_often(slots, queue, 2 * READY_PART)
    run(slots, queue, 8)
    assert not slots.may_take(queue)


def test_no_job_is_made_ready_where_those_before_it_take_long() -> None:
    slots = run(mixed(slots=8), BATCH, 8)
    assert not slots.may_take(BATCH)


def test_no_job_is_made_ready_for_a_provider_whose_jobs_take_long() -> None:
    """Those of another provider leave often."""
    other = keys.queue(Lane.BATCH, "openai")
    slots = mixed(slots=8, provider_slots={"espeak": 2})
    leave_often(slots, other, 2 * READY_PART)
    run(slots, BATCH, 2)
    run(slots, other, 6)
    assert slots.may_take(other)
    assert not slots.may_take(BATCH)


async def test_jobs_that_were_made_ready_get_slots_in_turn() -> None:
    slots = mixed(slots=1)
    before, first, second = take(slots, 3)
    waiting = [asyncio.ensure_future(slot.hold()) for slot in (first, second)]
    before.leave()
    assert await waiting[0]
    assert not waiting[1].done()
    first.leave()
    assert await waiting[1]
    second.leave()
    assert slots.is_open(BATCH)


def test_a_job_that_was_made_ready_for_nothing_makes_room_for_another() -> None:
    slots, reported = mixed(slots=1), list[str]()
    leave_often(slots, BATCH, READY_PART)
    _, ready = take(slots, 2)
    assert not slots.may_take(BATCH)
    slots.on_room = lambda: reported.append("room")
    ready.leave()
    assert slots.may_take(BATCH)
    assert reported == ["room"]


def test_nobody_gives_way_while_there_is_room() -> None:
    slots = run(mixed(slots=3), BATCH, 2)
    assert slots.rivals(BATCH) == []


def test_a_batch_gives_way_to_live_jobs_and_never_the_other_way() -> None:
    slots = run(mixed(slots=4, provider_slots={"espeak": 2}), BATCH, 2)
    assert set(slots.rivals(BATCH)) == {BATCH, LIVE}
    slots = run(mixed(slots=4, provider_slots={"espeak": 2}), LIVE, 2)
    assert slots.rivals(LIVE) == [LIVE]


def test_a_provider_with_most_slots_gives_way_to_one_with_few() -> None:
    slots = run(run(mixed(slots=4), LIVE, 3), OTHER, 1)
    assert set(slots.rivals(LIVE)) == {LIVE, OTHER}
    assert slots.rivals(OTHER) == [OTHER]
    slots = run(run(mixed(slots=4), LIVE, 2), OTHER, 2)
    assert slots.rivals(LIVE) == [LIVE]


def test_a_job_gives_no_room_that_would_not_help() -> None:
    """The slots of the other provider are full: one of this provider's makes no room there."""
    slots = run(run(mixed(slots=4, provider_slots={"openai": 1}), OTHER, 1), LIVE, 1)
    assert not slots.is_open(OTHER)
    assert slots.rivals(LIVE) == []
    assert slots.rivals(OTHER) == [OTHER]


def test_sessions_have_their_own_number_and_give_way_to_nobody() -> None:
    queue = keys.queue(Lane.SESSION, "espeak")
    slots = Slots(Settings.load(slots=1, sessions=2), [Lane.SESSION], ["espeak"])
    run(slots, queue, 2)
    assert not slots.is_open(queue)
    assert slots.rivals(queue) == []


def test_a_queue_that_is_no_lane_s_is_always_open() -> None:
    """That of a worker's own nudges."""
    assert mixed(slots=1).is_open(keys.worker("boot"))


def test_a_voice_that_speaks_one_at_a_time_has_few_slots() -> None:
    queue = keys.queue(Lane.LIVE, "hibari")

    def of_hibari(**settings: object) -> Slots:
        return Slots(Settings.load(**settings), [Lane.LIVE], ["hibari"])

    assert of_hibari().is_open(queue)
    assert not run(of_hibari(), queue, LOCAL_SLOTS).is_open(queue)
    assert run(of_hibari(), queue, LOCAL_SLOTS - 1).is_open(queue)
    assert run(of_hibari(provider_slots={"hibari": 50}), queue, LOCAL_SLOTS).is_open(queue)
