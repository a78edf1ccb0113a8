"""Batches before their first item, and at the end of their completion window."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from speechfleet.errors import BatchStopped
from speechfleet.ledger import BatchState
from speechfleet.ledger.batch_keys import VALIDATING, WINDOWS
from speechfleet.ledger.ledger import Ledger
from speechfleet.settings import Settings
from speechfleet.webhook_settings import EVENTS, make_secret
from speechfleet.webhooks import Secret, Webhook
from tests.support.spoken_batch import BATCH, NAMESPACE, Spoken

DAY_S = 86_400.0


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield ledger
    await ledger.close()


async def announced(ledger: Ledger, within_s: float = DAY_S) -> None:
    await ledger.batch_orders.announce(NAMESPACE, BATCH, {"corpus": "in"}, within_s=within_s)


async def opened(ledger: Ledger) -> None:
    await ledger.batches.open(NAMESPACE, BATCH, window=9, is_announced=True)


async def state(ledger: Ledger) -> BatchState:
    return (await ledger.batches.get(NAMESPACE, BATCH)).state


async def test_one_gateway_checks_a_batch_and_another_takes_over(ledger: Ledger) -> None:
    orders = ledger.batch_orders
    await announced(ledger)
    assert await orders.take(DAY_S) == (NAMESPACE, BATCH)
    assert await orders.take(DAY_S) is None, "the first one has it"
    await orders.keep(NAMESPACE, BATCH, 0)
    assert await orders.take(0) == (NAMESPACE, BATCH)
    assert await orders.take(0) == (NAMESPACE, BATCH), "the lease of a dead one is over"
    await opened(ledger)
    await opened(ledger)  # by a second one that was not dead
    assert await orders.take(0) is None
    await orders.keep(NAMESPACE, BATCH, 0)
    assert await orders.take(0) is None, "there is nothing to keep"
    status = await ledger.batches.get(NAMESPACE, BATCH)
    assert status.state is BatchState.OPEN
    assert status.expires == pytest.approx(status.created + DAY_S, abs=1)
    assert status.opened >= status.created


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_what_is_gone_before_it_is_checked_is_not_opened(ledger: Ledger, how: str) -> None:
    await announced(ledger)
    assert await ledger.batches.retry_failed(NAMESPACE, BATCH) == 0
    assert await state(ledger) is BatchState.VALIDATING
    if how == "cancelled":
        await ledger.batches.cancel(NAMESPACE, BATCH, "not wanted")
    else:
        await ledger.batches.delete(NAMESPACE, BATCH)
    with pytest.raises(BatchStopped):
        await opened(ledger)
    await ledger.batch_orders.refuse(NAMESPACE, BATCH, "invalid_input", "no", {})
    assert await ledger.batch_orders.take(0) is None
    redis: Any = ledger.connection.redis
    assert await redis.exists(VALIDATING, WINDOWS) == 0
    if how == "cancelled":
        assert await state(ledger) is BatchState.CANCELLED


async def test_the_rest_of_a_batch_expires(ledger: Ledger, spoken: Spoken) -> None:
    orders = ledger.batch_orders
    hook = Webhook(NAMESPACE, "wh_1", "https://x.example", (Secret(make_secret()),), EVENTS)
    await announced(ledger, within_s=0)
    assert await orders.overdue() == [(NAMESPACE, BATCH)]
    await orders.expire(NAMESPACE, BATCH)
    assert await state(ledger) is BatchState.VALIDATING, "its lines are not known yet"
    await opened(ledger)
    await spoken.submit("a", "b", "c")
    await spoken.speak("a")
    await spoken.claim("b")
    await ledger.webhooks.put(hook)
    await asyncio.gather(*(orders.expire(NAMESPACE, BATCH) for _ in range(3)))
    assert await orders.overdue() == []
    status = await ledger.batches.get(NAMESPACE, BATCH)
    assert (status.state, status.code) == (BatchState.EXPIRED, "batch_expired")
    assert (status.succeeded, status.cancelled, status.outstanding) == (1, 2, 0)
    with pytest.raises(BatchStopped) as stopped:
        await spoken.submit("d")
    assert stopped.value.code == "batch_expired"
    taken = await ledger.webhooks.take("a%20tenant/wh_1", 9, lease_s=30)
    assert taken is not None
    kinds = [event.type for event in taken[1]]
    assert (kinds.count("batch.ended"), kinds.count("job.cancelled")) == (1, 2)


async def test_an_item_whose_turn_comes_after_the_window_is_withdrawn(
    ledger: Ledger, spoken: Spoken
) -> None:
    await announced(ledger)
    await opened(ledger)
    await spoken.submit("a")
    await ledger.batches.become(NAMESPACE, BATCH, BatchState.EXPIRED)  # and then a worker died
    _, claim = await spoken.claim("a")
    assert (claim.outcome, claim.reason) == ("refused", "its batch is expired")


async def test_a_batch_that_is_opened_again_has_no_window(ledger: Ledger) -> None:
    await announced(ledger, within_s=0)
    await opened(ledger)
    await ledger.batch_orders.expire(NAMESPACE, BATCH)
    await ledger.batches.open(NAMESPACE, BATCH, window=9)
    await ledger.batches.open(NAMESPACE, BATCH, window=9)
    assert await ledger.batch_orders.overdue() == []
    assert (await ledger.batches.get(NAMESPACE, BATCH)).expires == 0


async def test_batches_without_listed_files_are_known(ledger: Ledger) -> None:
    orders = ledger.batch_orders
    await announced(ledger)
    assert await orders.unlisted(NAMESPACE) == [BATCH]
    await orders.listed(NAMESPACE, BATCH)
    assert await orders.unlisted(NAMESPACE) == []
