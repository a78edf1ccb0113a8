"""Random lives of a namespace's jobs: what is reserved and used is what a model says.

Rules submit, push, claim, speak, throw away, fail, finish, cancel, retry and delete in any order,
with writes that are repeated and workers that die.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from speechfleet.batch.pricing import unit_prices
from speechfleet.chunks import Finished
from speechfleet.errors import IllegalTransition
from speechfleet.ledger import Lease
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.ledger import Ledger
from speechfleet.lifecycle import LOSSES_BEFORE_FAILED, State
from speechfleet.quotas import NamespaceQuotaExceeded, Quota
from speechfleet.record import StoredSegment
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings
from tests.support.virtual_time import set_clock, told_the_time

T = TypeVar("T")
NAMESPACE, MODEL = "a tenant", "openai/tts-1"
ACCOUNT = "a%20tenant:openai%2Ftts-1"
PRICE = 15_000
"""Of a character of the model, in 1e-9."""
LIMITS = Quota(
    queued=4, streams=3, characters_day=150, characters_month=400, money_day=0.002,
    store_bytes=900,
)  # fmt: skip


FAR_S = 1e9
"""A time at which the clock stands still, so that no midnight comes; after that of the machine."""


async def ledger_of(url: str) -> Ledger:
    ledger = Ledger(Settings.load(redis_url=url))
    await ledger.connection.redis.flushall()
    await set_clock(ledger.connection, FAR_S)
    await ledger.open()
    await ledger.quotas.set(NAMESPACE, LIMITS, unit_prices(ledger.connection.settings))
    return ledger


@dataclass
class ModelJob:
    """What must be true of one job."""

    size: int
    lane: Lane
    state: State = State.QUEUED
    reserved: int = 0
    segments: int = 0
    failures: int = 0
    streak: int = 0
    object: int = 0
    open: bool = False
    owner: Lease | None = None

    def end(self, state: State) -> None:
        self.state, self.owner, self.reserved = state, None, 0


class TenantLife(RuleBasedStateMachine):
    """Random lives of a few jobs of one namespace."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger = self.run(ledger_of(self.url))
        self.jobs: dict[str, ModelJob] = {}
        self.numbers = itertools.count(1)
        self.used = 0

    def run(self, awaitable: Awaitable[T]) -> T:
        return self.loop.run_until_complete(awaitable)

    def teardown(self) -> None:
        self.run(self.ledger.close())
        self.loop.close()

    def of(self, *states: State) -> list[str]:
        return [id for id, job in self.jobs.items() if job.state in states]

    def chosen(self, number: int, *states: State) -> tuple[str, ModelJob] | None:
        ids = self.of(*states)
        return None if not ids else (id := ids[number % len(ids)], self.jobs[id])

    @property
    def reserved(self) -> int:
        return sum(job.reserved for job in self.jobs.values())

    @property
    def streams(self) -> int:
        under_way = self.of(State.QUEUED, State.RUNNING)
        return sum(self.jobs[id].lane is not Lane.BATCH for id in under_way)

    def has_room(self, size: int, lane: Lane) -> bool:
        taken = self.used + self.reserved + size
        assert LIMITS.queued is not None
        return (
            len(self.of(State.QUEUED)) < LIMITS.queued
            and self.streams + (lane is not Lane.BATCH) <= (LIMITS.streams or 0)
            and (size == 0 or taken <= (LIMITS.characters_day or 0))
            and taken * PRICE <= (LIMITS.money_day or 0) * 1e9
            and sum(job.object for job in self.jobs.values()) < (LIMITS.store_bytes or 0)
        )

    # --- clients ----------------------------------------------------------------------------

    @rule(
        size=st.integers(1, 60),
        lane=st.sampled_from(Lane),
        letter=st.sampled_from(["x", "ä", "語", "🙂"]),
    )
    def submit(self, size: int, lane: Lane, letter: str) -> None:
        id, opens = f"job {next(self.numbers)}", lane is Lane.SESSION
        request = Request("" if opens else letter * size, MODEL, lane=lane, open=opens)
        asked = 0 if opens else size
        try:
            self.run(self.ledger.jobs.submit(NAMESPACE, id, request))
        except NamespaceQuotaExceeded:
            assert not self.has_room(asked, lane)
            return
        assert self.has_room(asked, lane)
        self.run(self.ledger.jobs.submit(NAMESPACE, id, request))  # the same job: nothing more
        self.jobs[id] = ModelJob(asked, lane, reserved=asked, open=opens)

    @rule(number=st.integers(0, 9), text=st.text("aé", min_size=1, max_size=20))
    def push(self, number: int, text: str) -> None:
        found = self.chosen(number, State.QUEUED, State.RUNNING)
        if found is None or not found[1].open:
            return
        id, job = found
        record = self.run(self.ledger.jobs.load(NAMESPACE, id))
        held = record.request.text
        taken = self.used + self.reserved + len(text)
        allowed = taken <= (LIMITS.characters_day or 0)
        allowed &= taken * PRICE <= (LIMITS.money_day or 0) * 1e9
        try:
            for _ in range(2):
                self.run(self.ledger.jobs.push(NAMESPACE, id, held + text))
        except NamespaceQuotaExceeded:
            assert not allowed
            return
        assert allowed
        job.size += len(text)
        job.reserved += len(text)

    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        if found := self.chosen(number, State.QUEUED, State.RUNNING):
            assert self.run(self.ledger.jobs.cancel(NAMESPACE, found[0], "enough"))
            found[1].end(State.CANCELLED)

    @rule(number=st.integers(0, 9))
    def retry(self, number: int) -> None:
        found = self.chosen(number, State.SUCCEEDED, State.FAILED, State.CANCELLED)
        if found is None:
            return
        id, job = found
        try:
            self.run(self.ledger.jobs.retry(NAMESPACE, id))
        except NamespaceQuotaExceeded:
            assert not self.has_room(job.size, job.lane)
            return
        assert self.has_room(job.size, job.lane)
        with pytest.raises(IllegalTransition):
            self.run(self.ledger.jobs.retry(NAMESPACE, id))
        kept = job.object
        self.jobs[id] = ModelJob(job.size, job.lane, reserved=job.size, object=kept)

    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        if found := self.chosen(number, State.SUCCEEDED, State.FAILED, State.CANCELLED):
            for _ in range(2):
                assert self.run(self.ledger.jobs.delete(NAMESPACE, found[0])) != "running"
            del self.jobs[found[0]]

    # --- workers ----------------------------------------------------------------------------

    @rule(number=st.integers(0, 9))
    def claim(self, number: int) -> None:
        if found := self.chosen(number, State.QUEUED):
            boot = f"boot-{next(self.numbers)}"
            lease = Lease(
                self.ledger.connection.scripts, JobKeys(NAMESPACE, found[0]), f"{boot}:1", boot
            )
            claim = self.run(lease.claim(isolated=True))
            assert claim.outcome == "granted"
            found[1].state, found[1].owner = State.RUNNING, lease

    @rule(number=st.integers(0, 9), length=st.integers(1, 30), billed=st.integers(0, 40))
    def speak_a_segment(self, number: int, length: int, billed: int) -> None:
        found = self.chosen(number, State.RUNNING)
        if found is None or not (length := min(length, found[1].reserved)):
            return
        job = found[1]
        assert job.owner is not None
        segment = StoredSegment(job.segments, 0, 0, 0, length, f"hash{job.segments}")
        for _ in range(2):
            usage = {"characters": length, "billed": billed, "calls": 1}
            assert self.run(
                job.owner.segment(RecordedSegment(segment, 8000, 1 << 20, ACCOUNT, usage))
            )
        self.used += billed
        job.segments, job.failures, job.streak = job.segments + 1, 0, 0
        job.reserved -= length

    @rule(number=st.integers(0, 9), billed=st.integers(1, 9), late=st.booleans())
    def throw_a_call_away(self, number: int, billed: int, late: bool) -> None:
        if found := self.chosen(number, State.RUNNING):
            id, job = found
            assert job.owner is not None
            lease = job.owner
            if late:
                self.run(self.ledger.jobs.cancel(NAMESPACE, id, "enough"))
                job.end(State.CANCELLED)
            epoch = self.run(self.ledger.jobs.load(NAMESPACE, id)).epoch
            usage = {"calls": 1, "billed": billed}
            self.run(lease.count_call(epoch + late, ACCOUNT, usage, index=found[1].segments))
            self.used += billed

    @rule(number=st.integers(0, 9), size=st.integers(1, 400))
    def finish(self, number: int, size: int) -> None:
        if found := self.chosen(number, State.RUNNING):
            assert found[1].owner is not None
            for _ in range(2):
                end = Finished(0, 1, "o", "x")
                assert self.run(found[1].owner.finish(end, size=size, rate=8000))
            found[1].end(State.SUCCEEDED)
            found[1].object = size

    @rule(number=st.integers(0, 9), retryable=st.booleans())
    def fail(self, number: int, retryable: bool) -> None:
        if found := self.chosen(number, State.RUNNING):
            job = found[1]
            assert job.owner is not None
            outcome = self.run(
                job.owner.fail(
                    "rejected", "no", retryable=retryable, max_attempts=3, delay=0,
                    account=ACCOUNT, of_account=False, usage={"calls": 1, "billed": 2},
                )
            )  # fmt: skip
            self.used += 2
            job.failures += 1
            assert outcome == ("retry" if retryable and job.failures < 3 else "failed")
            if outcome == "failed":
                job.end(State.FAILED)
            else:
                job.state, job.owner = State.QUEUED, None

    @rule(number=st.integers(0, 9))
    def die(self, number: int) -> None:
        if found := self.chosen(number, State.RUNNING):
            job = found[1]
            assert job.owner is not None
            for _ in range(2):
                self.run(self.ledger.workers.recover_jobs(job.owner.boot, "died"))
            job.streak += 1
            if job.streak >= LOSSES_BEFORE_FAILED:
                job.end(State.FAILED)
            else:
                job.state, job.owner = State.QUEUED, None

    # --- what always holds ------------------------------------------------------------------

    @precondition(lambda self: self.jobs)
    @invariant()
    def the_sums_are_those_of_the_model(self) -> None:
        status = self.run(self.ledger.quotas.status(NAMESPACE))
        assert status is not None
        assert status.used["queued"] == len(self.of(State.QUEUED))
        assert status.reserved["streams"] == self.streams
        assert status.reserved["characters_day"] == self.reserved
        assert status.used["characters_day"] == status.used["characters_month"] == self.used
        assert status.used["money_day"] == pytest.approx(self.used * PRICE / 1e9)
        assert status.reserved["money_day"] == pytest.approx(self.reserved * PRICE / 1e9)
        assert status.used["store_bytes"] == sum(job.object for job in self.jobs.values())


def test_random_lives_of_a_tenant(redis_url: str) -> None:
    TenantLife.url = redis_url
    with told_the_time():
        run_state_machine_as_test(
            TenantLife,
            settings=settings(
                max_examples=30,
                stateful_step_count=40,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
