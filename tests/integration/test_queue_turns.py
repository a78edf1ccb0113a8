"""Namespaces share the slots of a queue, whatever the order in which messages come."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from speechfleet.ledger import Claim, Lease, keys
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.message import BEHIND, JobMessage
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings

QUEUE = keys.queue(Lane.LIVE, "espeak")
REQUEST = Request("Text.", "espeak/espeak-ng")


class Queue:
    """A worker's way to its jobs: pop a message as Celery does, then claim."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._numbers = itertools.count(1)

    async def submit(self, namespace: str, count: int) -> None:
        ids = [f"{namespace}{next(self._numbers):05}" for _ in range(count)]
        await self.ledger.jobs.submit_all(namespace, [(id, REQUEST) for id in ids])

    async def pop(self) -> JobMessage | None:
        for list in (QUEUE, QUEUE + BEHIND):
            if raw := await self.ledger.connection.redis.rpop(list):
                assert isinstance(raw, bytes)
                return JobMessage.decode(raw)
        return None

    async def claim(self, message: JobMessage) -> tuple[Lease, Claim]:
        token = f"boot:{next(self._numbers)}"
        scripts = self.ledger.connection.scripts
        return await Lease.take(scripts, message, QUEUE, token=token, boot="boot")

    async def take(self) -> Lease | None:
        """The next job, if there is one."""
        message = await self.pop()
        if message is None:
            return None
        lease, claim = await self.claim(message)
        assert claim.outcome == "granted"
        return lease


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield Queue(ledger)
    await ledger.close()


async def take_all(queue: Queue) -> list[str]:
    taken = []
    while lease := await queue.take():
        taken.append(lease.job.namespace)
    return taken


async def test_a_crowd_holds_up_another_by_one_turn(queue: Queue) -> None:
    await queue.submit("crowd", 320)
    for _ in range(5):
        await queue.take()
    await queue.submit("other", 1)
    taken = [lease.job.namespace for _ in range(2) if (lease := await queue.take())]
    assert "other" in taken


async def test_each_job_is_taken_once_and_in_the_order_of_its_namespace(queue: Queue) -> None:
    for namespace, count in (("a", 5), ("b", 2), ("a", 5), ("c", 3)):
        await queue.submit(namespace, count)
    taken = []
    while lease := await queue.take():
        taken.append(lease.job.id)
    assert len(set(taken)) == 15
    for namespace in "abc":
        own = [id for id in taken if id.startswith(namespace)]
        assert own == sorted(own)
    assert {id[0] for id in taken[:3]} == {"a", "b", "c"}
    redis: Any = queue.ledger.connection.redis
    assert await redis.keys("*pending*") == []
    assert await redis.keys("*waiting*") == []
    assert await redis.keys("*turns*") == []
    assert await redis.hgetall(keys.held(QUEUE)) == {b"a": b"10", b"b": b"2", b"c": b"3"}


async def test_jobs_at_the_head_of_the_queue_take_turns_too(queue: Queue) -> None:
    """Those that were handed back wait in a list that Celery empties first."""
    await queue.submit("crowd", 20)
    leases = [lease for _ in range(20) if (lease := await queue.take())]
    for lease in leases:
        await lease.hand_over("its worker drains")
    await queue.submit("other", 3)
    assert (await take_all(queue))[:6].count("other") == 3


async def end(lease: Lease) -> None:
    await lease.fail(
        "bad_input", "It ends.", retryable=False, max_attempts=1, delay=0, account="a:m",
        of_account=False, usage={},
    )  # fmt: skip


async def test_whoever_has_the_fewest_slots_is_next(queue: Queue) -> None:
    await queue.submit("crowd", 20)
    held = [lease for _ in range(8) if (lease := await queue.take())]
    await queue.submit("other", 20)
    for _ in range(16):
        await end(held.pop(0))
        lease = await queue.take()
        assert lease is not None
        held.append(lease)
    assert Counter(lease.job.namespace for lease in held) == {"crowd": 4, "other": 4}
    for lease in held:
        await end(lease)
    redis: Any = queue.ledger.connection.redis
    assert await redis.keys("*:held:*") == []


async def test_jobs_of_a_dead_worker_hold_no_slots(queue: Queue) -> None:
    await queue.submit("crowd", 3)
    assert [await queue.take() for _ in range(3)]
    await queue.ledger.workers.recover_jobs("boot", "it died")
    redis: Any = queue.ledger.connection.redis
    assert await redis.keys("*:held:*") == []
    assert await take_all(queue) == ["crowd"] * 3


async def test_a_namespace_with_one_job_at_a_time_does_not_keep_others_from_their_turn(
    queue: Queue,
) -> None:
    """It comes anew each time, and has the first name of the alphabet."""
    await queue.submit("crowd", 6)
    taken = []
    for _ in range(6):
        await queue.submit("a", 1)
        lease = await queue.take()
        assert lease is not None
        taken.append(lease.job.namespace)
        await end(lease)
    assert Counter(taken) == {"crowd": 3, "a": 3}


async def test_a_job_gives_way_until_the_slots_are_shared(queue: Queue) -> None:
    await queue.submit("crowd", 10)
    held = [lease for _ in range(4) if (lease := await queue.take())]
    assert not await queue.ledger.queues.deserve_slot([QUEUE], held[0].job), "nobody else waits"
    await queue.submit("other", 3)
    gave_way = 0
    while await queue.ledger.queues.deserve_slot([QUEUE], held[0].job):
        await held.pop(0).hand_over("it gave way")
        gave_way += 1
        lease = await queue.take()
        assert lease is not None
        assert lease.job.namespace == "other"
        held.append(lease)
    assert gave_way == 2
    assert not any([await queue.ledger.queues.deserve_slot([QUEUE], lease.job) for lease in held])


async def test_a_job_gives_way_to_any_job_of_a_queue_that_goes_first(queue: Queue) -> None:
    live = keys.queue(Lane.LIVE, "openai")
    await queue.submit("crowd", 1)
    lease = await queue.take()
    assert lease is not None
    assert not await queue.ledger.queues.deserve_slot([live], lease.job)
    request = Request("Text.", "openai/tts-1")
    await queue.ledger.jobs.submit_all("crowd", [("another", request)])
    assert await queue.ledger.queues.deserve_slot([live], lease.job)


async def test_a_message_that_is_given_back_is_not_lost(queue: Queue) -> None:
    await queue.submit("crowd", 3)
    await queue.submit("other", 1)
    first = await queue.pop()
    assert first is not None
    assert await queue.ledger.queues.give_back(first, QUEUE)
    assert not await queue.ledger.queues.give_back(first, QUEUE), "it has another number now"
    assert await queue.ledger.queues.popped() == set()
    assert Counter(await take_all(queue)) == {"crowd": 3, "other": 1}


async def test_the_search_for_lost_messages_goes_by_the_exchanged_ones(queue: Queue) -> None:
    await queue.submit("crowd", 3)
    await queue.submit("other", 1)
    for _ in range(2):
        await queue.take()
    assert await queue.ledger.queues.popped() == set(), "no message was lost"
    lost = await queue.pop()
    assert lost is not None
    (found,) = await queue.ledger.queues.popped()
    assert found.sequence == lost.sequence
    assert await queue.ledger.queues.resend(found)
    assert len(await take_all(queue)) == 2


async def test_a_message_comes_twice_and_takes_one_job(queue: Queue) -> None:
    await queue.submit("a", 2)
    message = await queue.pop()
    assert message is not None
    assert (await queue.claim(message))[1].outcome == "granted"
    assert (await queue.claim(message))[1].outcome == "refused"


crowds = st.lists(st.integers(1, 30), min_size=2, max_size=5)


def test_no_namespace_waits_for_more_than_one_turn_of_each_other(redis_url: str) -> None:
    """Whenever it comes, and however many jobs the others have."""

    @hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(crowds, st.integers(0, 40))
    def prove(sizes: list[int], before: int) -> None:
        asyncio.run(_simulate(redis_url, sizes, before))

    prove()


async def _simulate(url: str, sizes: list[int], before: int) -> None:
    ledger = Ledger(Settings.load(redis_url=url))
    await ledger.connection.redis.flushall()
    await ledger.open()
    queue = Queue(ledger)
    for number, size in enumerate(sizes):
        await queue.submit(f"crowd{number}", size)
    for _ in range(min(before, sum(sizes) - 1)):
        await queue.take()
    await queue.submit("late", 1)
    taken = await take_all(queue)
    assert taken.index("late") <= len(sizes)
    await ledger.close()


async def test_a_request_is_not_held_up_by_a_queue_of_another_version(queue: Queue) -> None:
    """A newer client's jobs have a queue of their own, which only newer workers read."""
    assert keys.queue("live", "espeak", 2) == QUEUE + "@2"
    assert keys.lane_of(QUEUE + "@2") == ("live", "espeak")
    assert keys.queues("live", "espeak") == [QUEUE]
