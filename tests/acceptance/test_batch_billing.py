"""What a corpus costs: each distinct text once, whatever becomes of the workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from speechfleet import AsyncClient, Msg
from speechfleet.keywords import request_of
from speechfleet.ledger import Batches, Result
from speechfleet.ledger.batches import item_id
from speechfleet.lifecycle import State
from speechfleet.request import Lane
from speechfleet_worker.slots import STORED_PART
from tests.support.stage import MODEL, Stage, staged

BATCH = "corpus"
SLOTS = 8
DISTINCT, ITEMS = 140, 200


def corpus(name: str) -> list[str]:
    """Thirty in a hundred are said before."""
    return [f"Line {n % DISTINCT} of {name}." for n in range(ITEMS)]


async def submit(client: AsyncClient, texts: Iterable[str], **order: Any) -> Batches:
    batches = Batches(client.ledger.connection)
    await batches.open(client.namespace, BATCH, window=1000)
    requests = [
        request_of(
            Msg("", text, id=item_id(BATCH, str(n))), {"model": MODEL, **order}, client.settings
        )
        for n, text in enumerate(texts)
    ]
    await client.ledger.jobs.submit_all(
        client.namespace,
        [(id, replace(request, lane=Lane.BATCH, batch=BATCH)) for id, request in requests],
    )
    return batches


async def ended(client: AsyncClient, batches: Batches, count: int) -> list[Result]:
    results: list[Result] = []
    while len(results) < count:
        found = await batches.results(client.namespace, BATCH, wait=5.0)
        await batches.acknowledge(client.namespace, BATCH, found)
        results += found
    return results


async def test_killed_workers_cost_no_more_than_the_calls_in_flight(tmp_path: Path) -> None:
    texts = corpus("the killed")
    with staged(tmp_path, workers=2, slots=SLOTS) as stage:
        async with stage.client() as client:
            batches = await submit(client, texts, pace=0.05)
            lost = await kill(stage, texts, after=30) + await kill(stage, texts, after=90)
            results = await ended(client, batches, ITEMS)
            assert {result.state for result in results} == {State.SUCCEEDED}
            asked = await stage.ledger.asked(texts)
            assert len(asked) == DISTINCT
            assert sum(asked.values()) <= DISTINCT + lost
            status = await batches.get(client.namespace, BATCH)
            assert status.usage["billed"] == sum(map(len, set(texts)))
            assert status.usage["billed"] + status.usage["cached"] == sum(map(len, texts))
            assert status.cached == ITEMS - DISTINCT
            assert (status.succeeded, status.outstanding, status.unread) == (ITEMS, 0, 0)
            assert (await client.counts())[State.SUCCEEDED] == 0, "their records are folded"


async def kill(stage: Stage, texts: Iterable[str], after: int) -> int:
    """Kill a worker after so many calls have ended; the calls that it may have lost."""
    await stage.ledger.until("end", texts, count=after)
    victim = stage.fleet.workers[0]
    await stage.off_loop(victim.kill)
    mine = Counter(call.event for call in stage.ledger.lines if call.pid == victim.pid)
    # Those that it had ended may not have been stored yet: no more than it had slots for, and half
    # as many again, which are stored without a slot.
    return max(SLOTS + SLOTS // STORED_PART, mine["start"] - mine["end"])
