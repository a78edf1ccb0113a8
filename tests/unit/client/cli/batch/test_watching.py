"""The line of ``batch status --watch``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from speechfleet.batch.batch import AsyncBatch
from speechfleet.cli.batch import watching
from speechfleet.ledger import BatchState, BatchStatus

NOW = BatchStatus(
    id="spring", state=BatchState.OPEN, code="", message="", created=0.0, updated=0.0, window=10,
    about={"total": "100"}, submitted=40, outstanding=10, unread=0, succeeded=28, failed=2,
    cancelled=0, cached=0, usage={},
)  # fmt: skip


def test_the_line_has_counts_rate_and_the_time_that_is_left() -> None:
    first = replace(NOW, succeeded=8, failed=2)
    line = watching.line(first, NOW, watched_s=10.0)
    assert line == "spring: 30/100  ETA 0:00:35  2.0/s  2 failed  10 under way"
    assert watching.line(NOW, replace(NOW, about={}), 0.0) == "spring: 30  2 failed  10 under way"


def test_items_whose_texts_were_changed_count_once() -> None:
    """Of 100 items all had ended, and 40 of them are spoken anew."""
    first = replace(NOW, succeeded=98, outstanding=40)
    now = replace(NOW, succeeded=118, outstanding=20)
    line = watching.line(first, now, watched_s=10.0)
    assert line == "spring: 80/100  ETA 0:00:10  2.0/s  2 failed  20 under way"
    assert replace(NOW, succeeded=138, outstanding=0).done == 100


ALL_ENDED = replace(NOW, succeeded=98, outstanding=0)


@pytest.mark.parametrize(
    "last",
    [
        pytest.param([replace(NOW, state=BatchState.STOPPED)], id="stopped"),
        pytest.param([ALL_ENDED] * watching.LOOKS_AT_END, id="all ended"),
        pytest.param([ALL_ENDED, NOW, *[ALL_ENDED] * watching.LOOKS_AT_END], id="fed again"),
    ],
)
def test_it_ends_with_the_batch(last: list[BatchStatus], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_INTERVAL_S", 0.0)
    statuses = [NOW, NOW, *last]

    class Batch:
        async def status(self) -> BatchStatus:
            return statuses.pop(0)

    asyncio.run(watching.watch_batch(cast(AsyncBatch, Batch()), quiet=True))
    assert statuses == []
