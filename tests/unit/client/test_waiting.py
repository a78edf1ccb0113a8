"""Why a job waits, when the user hears of it, and how long an outage of Redis is borne."""

from __future__ import annotations

import logging

import pytest

from speechfleet import waiting
from speechfleet.errors import FleetFull, FleetUnavailable, JobNotFound, ResultTimeout
from speechfleet.job import AsyncJob
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.lifecycle import State
from speechfleet.waiting import WaitNotice, outlast, reason_for_waiting
from tests.support.session_ledger import StubLedger, record_of
from tests.support.virtual_loop import run

WAITS = record_of("a", model="openai/tts-1", lane="live")


def worker(**providers: str) -> WorkerInfo:
    return WorkerInfo("boot", "host", 1, "1", (), 1, providers=providers)


@pytest.fixture
def ledger() -> StubLedger:
    ledger = StubLedger()
    ledger.jobs.record = WAITS
    ledger.workers.why = "no_worker"
    return ledger


@pytest.mark.parametrize(
    ("alive", "said"),
    [
        ([], "no worker is running"),
        ([worker(openai="set OPENAI_API_KEY")], "'openai': set OPENAI_API_KEY, in the env"),
        ([worker(espeak="")], "'openai' in lane 'live': start one with `speechfleet worker"),
    ],
    ids=["no-worker", "no-key", "another-provider"],
)
async def test_the_reason_names_the_provider_and_what_to_do(
    ledger: StubLedger, alive: list[WorkerInfo], said: str
) -> None:
    ledger.workers.alive = alive
    assert said in await reason_for_waiting(ledger.context(), WAITS)


async def test_a_job_that_waits_its_turn_has_no_reason(ledger: StubLedger) -> None:
    ledger.workers.why = "in line"
    assert await reason_for_waiting(ledger.context(), WAITS) == ""


def test_a_result_that_nobody_makes_is_warned_of_once_and_times_out_with_the_reason(
    ledger: StubLedger, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ResultTimeout, match="no worker is running") as caught:
        run(AsyncJob(ledger.context(), "a").result(timeout=60.0))
    assert caught.value.reason.startswith("no worker is running")
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert [r.getMessage().partition(":")[0] for r in warnings] == ["job 'a' waits"]


def test_a_time_out_of_a_running_job_has_no_reason(
    ledger: StubLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.jobs.record = record_of("a", State.RUNNING)
    with pytest.raises(ResultTimeout) as caught:
        run(AsyncJob(ledger.context(), "a").result(timeout=60.0))
    assert caught.value.reason == ""
    assert not caplog.records


def test_a_notice_never_raises(ledger: StubLedger) -> None:
    notice = WaitNotice(ledger.context(), "a")
    ledger.jobs.failures = [FleetUnavailable("away"), FleetUnavailable("away")]
    run(notice.watch())
    ledger.jobs.record = None
    assert run(notice.reason()) == ""


async def test_an_outage_is_outlasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 0.001)
    left = [FleetUnavailable("away"), FleetUnavailable("away")]

    async def call() -> str:
        if left:
            raise left.pop()
        return "back"

    assert await outlast(5.0, call) == "back"


@pytest.mark.parametrize(
    "error",
    [FleetFull("full"), JobNotFound("a"), FleetUnavailable("away")],
    ids=["full", "not-found", "patience-over"],
)
async def test_what_waiting_does_not_mend_is_raised(error: Exception) -> None:
    async def call() -> None:
        raise error

    with pytest.raises(type(error)):
        await outlast(0.0, call)
