"""One tenant's jobs, many or long, hold up another's by no more than a slot's turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from speechfleet import Msg
from tests.support.stage import (
    MODEL,
    Heard,
    Hold,
    Stage,
    gather,
    handed_on,
    opening,
    sentences,
    spoken,
    staged,
    submit,
)

CROWD = 320
SLOTS = 4


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1, slots=SLOTS) as stage:
        yield stage


def message(id: str) -> Msg:
    return Msg(name="", content=f"Sentence of {id}.", id=id)


async def test_a_crowd_of_one_tenant_does_not_hold_up_another(stage: Stage) -> None:
    async with stage.client() as client:
        crowd = client.within("crowd")
        jobs = await crowd.submit_many([message(f"crowd {n}") for n in range(CROWD)], model=MODEL)
        texts = {f"Sentence of crowd {n}." for n in range(CROWD)}
        await stage.ledger.until("start", texts, SLOTS)
        other = await client.within("other").submit(message("the other"), model=MODEL)
        started = len(await stage.ledger.asked(texts))
        await other.result(120)
        calls = [call.text for call in stage.ledger.lines if call.event == "start"]
        before = calls.index("Sentence of the other.")
        assert before - started <= SLOTS, "at most one turn of each slot"
        await gather(*(job.cancel() for job in jobs))


SENTENCES = 40


def asked_before(stage: Stage, texts: list[str]) -> set[str]:
    """What was asked for before the last of these texts was."""
    calls = [call.text for call in stage.ledger.lines if call.event == "start"]
    return set(calls[: max(map(calls.index, texts))])


async def test_long_jobs_that_hold_every_slot_give_way_at_a_sentence(tmp_path: Path) -> None:
    """And they go on from there: nothing is spoken twice, and no listener notices."""
    long = {f"long-{n}": sentences(f"long {n}", SENTENCES) for n in range(SLOTS)}
    lines = [line for sentences in long.values() for line in sentences]
    hold = Hold(tmp_path, opening(SENTENCES // 2))
    with staged(tmp_path, workers=1, slots=SLOTS) as stage:
        async with stage.client() as client:
            crowd, other = client.within("crowd"), client.within("other")
            jobs = [await submit(crowd, id, texts, **hold.options) for id, texts in long.items()]
            listening = [asyncio.create_task(Heard().listen(job)) for job in jobs]
            await stage.ledger.until("end", [texts[0] for texts in long.values()], SLOTS)
            short = [await other.submit(message(f"other {n}"), model=MODEL) for n in range(SLOTS)]
            hold.release()
            await gather(*(job.result() for job in short))
            before = asked_before(stage, [f"Sentence of other {n}." for n in range(SLOTS)])
            assert not before.issuperset(lines), "they did not wait for the end of the long ones"
            for job, heard in zip(jobs, await gather(*listening), strict=True):
                assert heard.audio == spoken(long[job.id])
            assert set((await stage.ledger.asked(lines)).values()) == {1}
            assert any([handed_on(await job.record()) for job in jobs])


async def test_a_batch_gives_way_to_a_live_job_of_a_provider_with_one_slot(tmp_path: Path) -> None:
    environ = {"SPEECHFLEET_PROVIDER_SLOTS": json.dumps({"slow": 1})}
    lines = sentences("corpus", SENTENCES)
    hold = Hold(tmp_path, opening(SENTENCES // 2))
    with staged(tmp_path, workers=1, slots=SLOTS, environ=environ) as stage:
        async with stage.client() as client:
            item = await submit(
                client, "item", lines, lane="batch", segments="sentence", **hold.options
            )
            await stage.ledger.until("end", lines[:1])
            live = await client.submit(message("live"), model=MODEL)
            hold.release()
            await live.result(120)
            assert not asked_before(stage, ["Sentence of live."]).issuperset(lines)
            await item.result(120)
            assert set((await stage.ledger.asked(lines)).values()) == {1}
