"""Batches of a namespace with a quota wait for room in the queue, and end at other limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from speechfleet.batch import feeder
from speechfleet.batch.feeder import Feeder
from speechfleet.batch.pricing import PriceList, SpendingLimit
from speechfleet.corpus.item import Item
from speechfleet.ledger import WindowFull
from speechfleet.ledger.quotas import Quotas
from speechfleet.quotas import NamespaceQuotaExceeded, Quota
from speechfleet.request import Lane, Request
from tests.support.spoken_batch import BATCH, NAMESPACE, Spoken

ITEMS = [Item("a", "Hello."), Item("b", "Hello.")]
REQUEST = Request("Hello.", "espeak/espeak-ng", lane=Lane.BATCH, batch=BATCH)


async def feeder_of(spoken: Spoken, quota: Quota) -> Feeder:
    await Quotas(spoken.connection).set(NAMESPACE, quota, {"espeak": 0})
    await spoken.open()
    return Feeder(
        spoken.jobs, NAMESPACE, BATCH, request=lambda _: REQUEST, is_done=lambda *_: False,
        limit=SpendingLimit(PriceList({})),
    )  # fmt: skip


async def test_a_batch_waits_while_its_namespace_has_too_many_jobs_queued(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a job beside it, whose end nobody tells it."""
    submit_each, refused = spoken.jobs.submit_each, asyncio.Event()

    async def watched(*arguments: Any, **keywords: Any) -> Any:
        outcomes = await submit_each(*arguments, **keywords)
        if any(isinstance(outcome, WindowFull) for outcome in outcomes):
            refused.set()
        return outcomes

    monkeypatch.setattr(spoken.jobs, "submit_each", watched)
    monkeypatch.setattr(feeder, "FULL_S", 0.01)
    feeding = await feeder_of(spoken, Quota(queued=1))
    await spoken.jobs.submit(NAMESPACE, "beside it", Request("Hello.", "espeak/espeak-ng"))
    task = asyncio.create_task(feeding.feed(ITEMS))
    async with asyncio.timeout(60):
        await refused.wait()
        assert await spoken.waiting() == []
        await spoken.jobs.cancel(NAMESPACE, "beside it", "enough")
        for _ in ITEMS:
            while not (waiting := await spoken.waiting()):
                pass
            assert len(waiting) == 1
            await spoken.speak(waiting[0])
            results = await spoken.results()
            await spoken.acknowledge(results)
            for result in results:
                feeding.settle(result)
        await task


async def test_a_batch_ends_at_a_limit_that_begins_anew_later(spoken: Spoken) -> None:
    feeding = await feeder_of(spoken, Quota(characters_day=9))
    with pytest.raises(NamespaceQuotaExceeded):
        await feeding.feed(ITEMS)
    assert await spoken.waiting() == ["a"], "what was accepted is spoken"


async def test_items_are_not_begun_again_beyond_the_quota(spoken: Spoken) -> None:
    await feeder_of(spoken, Quota(characters_day=9))
    await spoken.submit("a")
    await spoken.speak("a", "fail")
    assert await spoken.batches.retry_failed(NAMESPACE, BATCH) == 1
    await spoken.speak("a", "fail")
    await Quotas(spoken.connection).set(NAMESPACE, Quota(characters_day=1), {"espeak": 0})
    with pytest.raises(NamespaceQuotaExceeded):
        await spoken.batches.retry_failed(NAMESPACE, BATCH)
