"""The delays between attempts, of jobs and of sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from speechfleet.errors import ProviderError, ProviderUnavailable, RateLimited
from speechfleet.ledger import Claim
from speechfleet.ledger.lease import ClaimOutcome
from speechfleet.settings import Settings
from speechfleet_worker.synthesis.backoff import delay_before, delay_in_session
from speechfleet_worker.synthesis.model_cache import ModelCache
from speechfleet_worker.synthesis.session import Session
from tests.support.stub_ledger import StubLease, make_context, make_record, make_store

SETTINGS = Settings(backoff=2.0, backoff_max=30.0, retry_after_max=60.0)


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(1, 2.0), (2, 4.0), (9, 30.0)], ids=["first", "second", "ninth"]
)
def test_a_job_waits_longer_after_each_failure(attempt: int, ceiling: float) -> None:
    assert ceiling / 2 <= delay_before(attempt, SETTINGS, None) <= ceiling


def test_a_session_retries_at_once_after_its_first_failure() -> None:
    assert delay_in_session(1, SETTINGS, None) == 0.0
    assert 1.0 <= delay_in_session(2, SETTINGS, None) <= 2.0


def test_a_session_waits_as_long_as_the_provider_asks_from_the_first_failure_on() -> None:
    assert delay_in_session(1, SETTINGS, 7.0) == 7.0
    assert delay_in_session(1, SETTINGS, 900.0) == 60.0


class _Regained(Session):
    """A session that always gets its job again."""

    async def regain(self) -> Claim | None:
        return Claim(ClaimOutcome.GRANTED)


@pytest.mark.parametrize(
    ("error", "delay"),
    [(RateLimited("slow down", retry_after=7.0), 7.0), (ProviderUnavailable("away"), 0.0)],
    ids=["refused_with_a_time", "unavailable"],
)
async def test_the_first_retry_of_a_session_honours_retry_after(
    error: ProviderError, delay: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    context = make_context(make_store(tmp_path / "store"), backoff=2.0)
    session = _Regained(context, cast("ModelCache", None), StubLease())
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await session._fail(make_record(lane="session"), error) == Claim(ClaimOutcome.GRANTED)
    assert waited == [delay]
