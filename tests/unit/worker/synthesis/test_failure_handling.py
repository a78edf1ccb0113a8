"""What follows when an `Execution` fails: a later attempt and its delay, or the end of the job."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from speechfleet.audio.formats import FORMATS
from speechfleet.errors import ProviderUnavailable
from speechfleet.ledger import Claim
from speechfleet.ledger.lease import ClaimOutcome
from speechfleet.record import Record
from speechfleet_worker.synthesis.execution import Execution
from speechfleet_worker.synthesis.model_cache import ModelCache, Voice
from tests.support.codecs import remove_codec
from tests.support.stub_ledger import (
    FailedAttempt,
    StubLease,
    StubModel,
    make_context,
    make_record,
    make_store,
    make_voice,
)

BACKOFF_S = 2.0


class OneVoice:
    """Models of a worker that has one."""

    def __init__(self, model: StubModel) -> None:
        self._voice = make_voice(model)

    def voice(self, request: object) -> Voice:
        return self._voice


async def attempt(folder: Path, model: StubModel, record: Record) -> FailedAttempt:
    """Run a job until its attempt fails."""
    context = make_context(
        make_store(folder / "store"), record=lambda: record, backoff=BACKOFF_S, backoff_max=600.0
    )
    lease = StubLease()
    execution = Execution(context, cast("ModelCache", OneVoice(model)), lease)
    await execution.run(Claim(ClaimOutcome.GRANTED, record=record))
    [failed] = lease.failed
    return failed


@pytest.mark.parametrize(
    ("fails_at", "in_a_row"),
    [("Alpha is here.", 4), ("Beta is here.", 1)],
    ids=["nothing_new", "one_segment_more"],
)
async def test_the_failures_since_the_last_segment_decide_about_delay_and_message(
    tmp_path: Path, fails_at: str, in_a_row: int
) -> None:
    model = StubModel()
    model.errors[fails_at] = ProviderUnavailable("away")
    record = make_record("Alpha is here. Beta is here.", cut="sentence", failures=3)
    failed = await attempt(tmp_path, model, record)
    ceiling = BACKOFF_S * 2 ** (in_a_row - 1)
    assert ceiling / 2 <= failed.delay <= ceiling
    counted = f" (attempt {in_a_row} of 5)" if in_a_row > 1 else ""
    assert failed.message == f"stub: away{counted}"


@pytest.mark.parametrize("format", [name for name in FORMATS if FORMATS[name].codec])
async def test_a_format_without_its_codec_ends_the_job_before_a_provider_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    remove_codec(monkeypatch, format)
    model = StubModel()
    failed = await attempt(tmp_path, model, make_record("Alpha is here.", format=format))
    assert model.asked == []
    assert (failed.code, failed.retryable) == ("missing_codec", False)
    assert format in failed.message
    assert "pip install" in failed.message
