"""Random lives of a job against a real server; the promises are checked after every step.

Rules submit, claim, publish, lose, take over, cancel, retry, fail and finish in any order, with
executions that lost their lease still trying to write. A model in Python says what must hold.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

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

from speechfleet.accumulator import Accumulator
from speechfleet.chunks import Finished, Started, Terminal
from speechfleet.errors import Conflict, IllegalTransition
from speechfleet.ledger import Connection, Jobs, Lease, LeaseLost, Workers, keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.message import BEHIND, JobMessage
from speechfleet.ledger.overview import FleetOverview
from speechfleet.ledger.queues import Queues
from speechfleet.lifecycle import LOSSES_BEFORE_FAILED, LOSSES_BEFORE_ISOLATION, State
from speechfleet.record import StoredSegment
from speechfleet.request import Request
from speechfleet.settings import Settings

T = TypeVar("T")
REQUEST = Request("One. Two. Three.", "espeak/espeak-ng")
NEVER_RECORDED = 1000
"""Index of a segment that no owner recorded: what an owner did record stays done."""
STARTED = Started(1, "boot", "espeak/espeak-ng", "", "audio/pcm;rate=8000", 8000)
MAX_ATTEMPTS = 3
RARELY = st.sampled_from([False] * 5 + [True])
"""What ends an execution is drawn rarely, so that lives get long enough to go wrong."""


@dataclass
class Model:
    """What must be true of the one job."""

    state: State | None = None
    epoch: int = 0
    audio: bytes = b""
    segments: list[int] = field(default_factory=list)
    attempts: int = 0
    failures: int = 0
    streak: int = 0
    owner: Lease | None = None


class JobLife(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.connection = self.run(self.connect())
        self.jobs = Jobs(self.connection)
        self.workers = Workers(self.connection)
        self.queues = Queues(self.connection)
        self.overview = FleetOverview(self.connection)
        self.job = JobKeys("default", "the job")
        self.model = Model()
        self.numbers = itertools.count(1)
        self.zombies: list[Lease] = []

    def run(self, awaitable: Awaitable[T]) -> T:
        return self.loop.run_until_complete(awaitable)

    async def connect(self) -> Connection:
        connection = Connection(Settings.load(redis_url=self.url))
        await connection.redis.flushall()
        await connection.open()
        return connection

    def teardown(self) -> None:
        self.run(self.connection.close())
        self.loop.close()

    # --- what clients do --------------------------------------------------------------------

    @rule(really=RARELY)
    def submit(self, really: bool) -> None:
        if self.model.state is not None and not really:
            return
        submitted = self.run(self.jobs.submit("default", "the job", REQUEST))
        assert submitted.new == (self.model.state is None)
        if submitted.new:
            self.model = Model(State.QUEUED, 1)
        assert submitted.state is self.model.state

    @precondition(lambda self: self.model.state is not None and self.model.owner is None)
    @rule()
    def submit_something_else(self) -> None:
        with pytest.raises(Conflict):
            self.run(self.jobs.submit("default", "the job", Request("Else.", "espeak/espeak-ng")))

    @precondition(lambda self: self.model.state is not None)
    @rule(really=RARELY)
    def cancel(self, really: bool) -> None:
        assert self.model.state is not None
        if not (really or self.model.state.terminal):
            return
        done = self.run(self.jobs.cancel("default", "the job", "enough"))
        assert done == (not self.model.state.terminal)
        if done:
            self.lose_owner(State.CANCELLED)

    @precondition(lambda self: self.model.state is not None)
    @rule()
    def retry(self) -> None:
        assert self.model.state is not None
        if not self.model.state.terminal:
            with pytest.raises(IllegalTransition):
                self.run(self.jobs.retry("default", "the job"))
            return
        assert self.run(self.jobs.retry("default", "the job")) == self.model.epoch + 1
        self.model = Model(State.QUEUED, self.model.epoch + 1)

    # --- what workers do --------------------------------------------------------------------

    @precondition(lambda self: self.model.state is not None)
    @rule(stale=RARELY)
    def claim(self, stale: bool) -> None:
        number = next(self.numbers)
        record = self.run(self.jobs.load("default", "the job"))
        sequence = "999999" if stale else str(record.sequence)
        lease = Lease(self.connection.scripts, self.job, f"boot-{number}:1", f"boot-{number}")
        claim = self.run(lease.claim(sequence, isolated=False))
        if self.model.state is not State.QUEUED or stale:
            assert claim.outcome == "refused"
            return
        if self.model.streak >= LOSSES_BEFORE_ISOLATION:
            assert claim.outcome == "isolated"
            claim = self.run(lease.claim(sequence, isolated=True))
        assert claim.outcome == "granted"
        assert claim.record is not None
        assert claim.record.audio == len(self.model.audio)
        assert [s.end for s in claim.segments] == self.model.segments
        self.model.state, self.model.owner = State.RUNNING, lease
        keep = self.model.segments[-1] if self.model.segments else 0
        self.run(lease.rewind(keep, number, "another attempt"))
        self.model.audio = self.model.audio[:keep]

    @precondition(lambda self: self.model.owner is not None)
    @rule(data=st.binary(min_size=1, max_size=40), repeat=st.booleans())
    def publish_some(self, data: bytes, repeat: bool) -> None:
        self.publish(data, repeat=repeat)

    def publish(self, data: bytes, *, repeat: bool) -> None:
        assert self.model.owner is not None
        start = len(self.model.audio)
        self.model.audio += data
        for _ in range(1 + repeat):
            held = self.run(self.model.owner.publish(start, data, started=STARTED, limit=1 << 30))
            assert held == len(self.model.audio)

    @precondition(lambda self: self.model.owner is not None)
    @rule(data=st.binary(min_size=1, max_size=40))
    def speak_a_segment(self, data: bytes) -> None:
        self.publish(data, repeat=False)
        self.segment(repeat=True)

    @precondition(lambda self: self.model.owner is not None)
    @rule()
    def publish_with_a_gap(self) -> None:
        assert self.model.owner is not None
        start = len(self.model.audio) + 10
        held = self.run(self.model.owner.publish(start, b"x", started=STARTED, limit=1 << 30))
        assert held == len(self.model.audio)

    @precondition(lambda self: self.model.owner is not None)
    @rule(repeat=st.booleans())
    def finish_a_segment(self, repeat: bool) -> None:
        self.segment(repeat=repeat)

    def segment(self, *, repeat: bool) -> None:
        assert self.model.owner is not None
        index, end = len(self.model.segments), len(self.model.audio)
        start = self.model.segments[-1] if self.model.segments else 0
        segment = StoredSegment(index, start, end, index, index + 1, f"hash{index}")
        for _ in range(1 + repeat):
            usage = {"characters": 1}
            assert self.run(
                self.model.owner.segment(
                    RecordedSegment(segment, 8000, 1 << 20, "default:m", usage)
                )
            )
        self.model.segments.append(end)
        self.model.streak = self.model.failures = 0

    @precondition(lambda self: self.model.owner is not None)
    @rule(repeat=st.booleans(), really=RARELY)
    def finish(self, repeat: bool, really: bool) -> None:
        lease = self.model.owner
        assert lease is not None
        size = len(self.model.audio)
        if not really:
            assert not self.run(lease.finish(Finished(size + 1, 1, "o", "x"), size=1, rate=8000))
            return
        for _ in range(1 + repeat):
            assert self.run(lease.finish(Finished(size, 1, "o", "x"), size=1, rate=8000))
        self.lose_owner(State.SUCCEEDED)

    @precondition(lambda self: self.model.owner is not None)
    @rule(kind=st.sampled_from(["segment", "rate_limit"]))
    def park(self, kind: Literal["segment", "rate_limit"]) -> None:
        assert self.model.owner is not None
        self.run(self.model.owner.suspend(kind, "what it waits for", "live", 0.0))
        self.lose_owner(State.QUEUED)
        assert self.run(self.queues.send_due()) == 1

    @precondition(lambda self: self.model.owner is not None)
    @rule(retryable=st.booleans())
    def fail(self, retryable: bool) -> None:
        assert self.model.owner is not None
        outcome = self.run(
            self.model.owner.fail(
                "rate_limited",
                "wait",
                retryable=retryable,
                max_attempts=MAX_ATTEMPTS,
                delay=0,
                account="default:m",
                of_account=False,
                usage={"calls": 1},
            )
        )
        self.model.attempts += 1
        self.model.failures += 1
        again = retryable and self.model.failures < MAX_ATTEMPTS
        assert outcome == ("retry" if again else "failed")
        self.lose_owner(State.QUEUED if again else State.FAILED)
        if again:
            assert self.run(self.queues.send_due()) == 1

    @precondition(lambda self: self.model.owner is not None)
    @rule(really=RARELY)
    def hand_over(self, really: bool) -> None:
        assert self.model.owner is not None
        if not really:
            return
        self.run(self.model.owner.hand_over("draining"))
        self.lose_owner(State.QUEUED)

    @precondition(lambda self: self.model.owner is not None)
    @rule(twice=st.booleans())
    def die(self, twice: bool) -> None:
        assert self.model.owner is not None
        for _ in range(1 + twice):
            self.run(self.workers.recover_jobs(self.model.owner.boot, "died"))
        self.model.streak += 1
        lost = self.model.streak >= LOSSES_BEFORE_FAILED
        self.lose_owner(State.FAILED if lost else State.QUEUED)

    @rule(really=RARELY)
    def sweep_messages(self, really: bool) -> None:
        if not really:
            return
        record = self.run(self.jobs.find("default", "the job"))
        assert self.run(self.queues.popped()) == set(), "no message was popped"
        if record is not None and record.state is State.QUEUED:
            hint = JobMessage(self.job.name, str(record.sequence))
            assert not self.run(self.queues.resend(JobMessage(self.job.name, "0")))
            assert self.run(self.queues.resend(hint))

    # --- what those do who lost it ----------------------------------------------------------

    @precondition(lambda self: self.zombies)
    @rule()
    def a_zombie_cannot_write(self) -> None:
        zombie = self.zombies[-1]
        end = len(self.model.audio)
        with pytest.raises(LeaseLost):
            self.run(zombie.publish(end, b"zombie", started=STARTED, limit=1 << 30))
        with pytest.raises(LeaseLost):
            self.run(zombie.rewind(0, 9, "zombie"))
        segment = StoredSegment(NEVER_RECORDED, 0, 1, 0, 1, "zombie")
        with pytest.raises(LeaseLost):
            self.run(zombie.segment(RecordedSegment(segment, 8000, 1, "default:m", {})))
        if self.model.state is not State.SUCCEEDED:
            with pytest.raises(LeaseLost):
                self.run(zombie.finish(Finished(end, 1, "zombie", "x"), size=1, rate=8000))
        self.run(zombie.hand_over("zombie"))
        assert self.run(self.workers.recover_job(self.job.name, zombie.boot, "zombie")) == "kept"

    def lose_owner(self, state: State) -> None:
        if self.model.owner is not None and state is not State.SUCCEEDED:
            self.zombies.append(self.model.owner)
        self.model.state, self.model.owner = state, None

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def the_record_says_what_the_model_says(self) -> None:
        record = self.run(self.jobs.find("default", "the job"))
        if record is None:
            assert self.model.state is None
            return
        assert record.state is self.model.state
        assert record.epoch == self.model.epoch
        assert record.audio == len(self.model.audio)
        assert record.token == (self.model.owner.token if self.model.owner else "")
        assert self.run(self.jobs.counts("default")) == {
            state: int(state is record.state) for state in State
        }

    @invariant()
    def the_stream_keeps_its_promises(self) -> None:
        if self.model.state is None:
            return
        entries = self.run(self.jobs.entries("default", "the job", self.model.epoch, count=9999))
        accumulator, heard = Accumulator(), b""
        for _, entry in entries:
            assert entry is not None
            assert accumulator.terminal is None, "nothing follows a terminal entry"
            chunk = accumulator.feed(entry)
            heard = bytes(chunk.audio) if chunk is not None else heard
        assert heard == self.model.audio
        terminal = [entry for _, entry in entries if isinstance(entry, Terminal)]
        assert len(terminal) == int(self.model.state.terminal)

    @invariant()
    def segments_stand_once_and_in_order(self) -> None:
        segments = self.run(self.jobs.segments("default", "the job", self.model.epoch))
        assert [segment.end for segment in segments] == self.model.segments

    @invariant()
    def a_job_stands_in_line_exactly_while_it_is_queued(self) -> None:
        queues = self.run(self.overview.overview([])).queues
        lists = [f"{status.queue}{suffix}" for status in queues for suffix in ("", BEHIND)]
        waiting = [
            name
            for queue in lists
            for name in self.run(self.connection.redis.zrange(keys.pending(queue), 0, -1))
        ]
        queued = self.model.state is State.QUEUED
        assert waiting == ([self.job.name.encode()] if queued else [])
        assert sum(status.waiting for status in queues) == int(queued)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        owners = self.run(self.connection.redis.keys(f"{keys.running('*')}"))
        assert len(owners) == (self.model.owner is not None)


@pytest.mark.timeout(900)
def test_random_lives(redis_url: str) -> None:
    JobLife.url = redis_url
    run_state_machine_as_test(
        JobLife,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],  # shrinking takes longer than a test may
            suppress_health_check=list(HealthCheck),
        ),
    )
