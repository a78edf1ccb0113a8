"""A session's text over a ledger in memory: what is sent, again, and in what order."""

from __future__ import annotations

import pytest

from speechfleet import waiting
from speechfleet.errors import (
    FleetUnavailable,
    InvalidRequest,
    JobFailed,
    JobNotFound,
    NoCapacity,
    TextComplete,
    TextDiverged,
    TextTooLong,
)
from speechfleet.lifecycle import State
from speechfleet.request import Lane, Request
from speechfleet.session import AsyncSession
from tests.support.session_ledger import StubLedger, record_of

REQUEST = Request(text="", model="espeak/espeak-ng", lane=Lane.SESSION, open=True)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> StubLedger:
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 0.001)
    ledger = StubLedger()
    ledger.jobs.record = record_of("s", State.RUNNING)
    return ledger


def session(ledger: StubLedger, **settings: float) -> AsyncSession:
    return AsyncSession(ledger.context(**settings), "s", REQUEST, open_timeout=0.05)


async def test_only_new_text_is_sent(ledger: StubLedger) -> None:
    spoken = session(ledger)
    await spoken.push("One.")
    await spoken.push("One. Two.")
    await spoken.push("One.")
    await spoken.say(" Three.")
    assert ledger.jobs.pushed == [
        ("One.", 0, False),
        ("One. Two.", 4, False),
        ("One. Two. Three.", 9, False),
    ]


async def test_text_that_does_not_go_on_is_refused_and_not_sent(ledger: StubLedger) -> None:
    spoken = session(ledger)
    await spoken.push("One.")
    with pytest.raises(TextDiverged):
        await spoken.push("Another text.")
    assert spoken.text == "One."
    assert len(ledger.jobs.pushed) == 1


async def test_text_past_the_limit_is_refused(ledger: StubLedger) -> None:
    with pytest.raises(TextTooLong):
        await session(ledger, session_text=3).push("Four")


@pytest.mark.parametrize("error", [TextDiverged("a", "b"), TextComplete("over")])
async def test_a_refusal_of_the_server_leaves_the_text_as_it_was(
    ledger: StubLedger, error: Exception
) -> None:
    spoken = session(ledger)
    await spoken.push("One.")
    ledger.jobs.failures = [error]
    with pytest.raises(type(error)):
        await spoken.push("One. Two.")
    assert spoken.text == "One."


async def test_a_push_to_a_failed_session_raises_what_it_failed_of(ledger: StubLedger) -> None:
    ledger.jobs.failures = [TextComplete("over")]
    ledger.jobs.record = record_of("s", State.FAILED, code="unknown_voice", message="no voice")
    with pytest.raises(JobFailed, match="no voice") as caught:
        await session(ledger).push("One.")
    assert caught.value.code == "unknown_voice"


async def test_a_push_waits_for_a_redis_that_is_away(ledger: StubLedger) -> None:
    ledger.jobs.failures = [FleetUnavailable("away"), FleetUnavailable("away")]
    await session(ledger).push("One.")
    assert ledger.jobs.pushed == [("One.", 0, False)]


async def test_without_patience_the_text_is_kept_and_sent_with_the_next_push(
    ledger: StubLedger,
) -> None:
    spoken = session(ledger, redis_patience=0.0)
    ledger.jobs.failures = [FleetUnavailable("away")]
    with pytest.raises(FleetUnavailable):
        await spoken.push("One.")
    await spoken.push("One. Two.")
    assert ledger.jobs.pushed == [("One. Two.", 0, False)]


async def test_a_record_that_redis_lost_is_written_again_with_all_of_the_text(
    ledger: StubLedger,
) -> None:
    spoken = session(ledger)
    await spoken.push("One.")
    ledger.jobs.failures = [JobNotFound("s")]
    await spoken.push("One. Two.")
    [(id, request, how)] = ledger.jobs.submitted
    assert (id, request.text, how) == ("s", "One. Two.", "again")
    assert ledger.jobs.pushed[-1] == ("One. Two.", 0, False)


async def test_completing_sends_the_end_once(ledger: StubLedger) -> None:
    spoken = session(ledger)
    await spoken.complete("One.")
    await spoken.complete()
    assert ledger.jobs.pushed == [("One.", 0, False), ("One.", 4, True)]


async def test_completing_without_text_cancels(ledger: StubLedger) -> None:
    spoken = session(ledger)
    chunks = [chunk async for chunk in spoken.synthesize("  ")]
    assert [(chunk.is_last, chunk.total) for chunk in chunks] == [(True, 0)]
    assert ledger.jobs.cancelled == ["nothing to say"]


async def test_without_a_worker_it_is_cancelled_and_says_so(ledger: StubLedger) -> None:
    ledger.jobs.record = record_of("s", State.QUEUED)
    with pytest.raises(NoCapacity, match=r"speechfleet worker --lanes session"):
        await session(ledger).open()
    assert ledger.jobs.cancelled == ["no worker took it in time"]


async def test_one_of_another_loop_is_refused(
    ledger: StubLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = session(ledger)
    await spoken.push("One.")
    monkeypatch.setattr(spoken._owner, "moved", lambda *_: True)
    with pytest.raises(InvalidRequest, match="resume=True") as caught:
        await spoken.push("One. Two.")
    assert caught.value.code == "wrong_loop"
