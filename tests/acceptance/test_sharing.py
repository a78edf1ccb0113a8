"""Many clients, many jobs: each is spoken once, and a long line is left in peace."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from speechfleet import Msg, State
from speechfleet.ledger import keys
from speechfleet.ledger.message import BEHIND, JobMessage
from tests.support.stage import MODEL, Stage, gather, sentences, spoken, staged, submit

BACKLOG = 20_000
SUBMITTER = """
import asyncio, sys
from speechfleet import AsyncClient, Msg, Settings
async def main(first):
    async with AsyncClient(Settings.load(providers=%r)) as client:
        await asyncio.gather(*(
            client.submit(Msg(name="", content=f"Text {n %% 200}.", id=f"id-{n %% 200}"), model=%r)
            for n in range(first, 2000, 8)
        ))
asyncio.run(main(int(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=2, slots=40) as stage:
        yield stage


async def test_2000_submits_of_200_ids_from_8_processes_are_200_calls(stage: Stage) -> None:
    program = SUBMITTER % (stage.fleet.environ["SPEECHFLEET_PROVIDERS"], MODEL)
    submitters = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(first), env=stage.client_environ()
        )
        for first in range(8)
    ]
    assert await gather(*(process.wait() for process in submitters)) == [0] * 8
    async with stage.client() as client:
        jobs = [client.job(f"id-{n}") for n in range(200)]
        await gather(*(job.result() for job in jobs))
        texts = [f"Text {n}." for n in range(200)]
        assert await stage.ledger.asked(texts) == dict.fromkeys(texts, 1)


async def test_a_text_that_was_spoken_is_not_bought_again(stage: Stage) -> None:
    """Under any id, with the same voice; without the cache, it is."""
    lines = sentences("the corpus", 3)
    async with stage.client() as client:
        first = await submit(client, "first of the corpus", lines)
        assert await (await first.result(120)).read()
        again = await submit(client, "again, with a friend", [*lines, "And one more line."])
        speech = await again.result(120)
        assert (await speech.read()).endswith(spoken([*lines, "And one more line."]))
        assert speech.usage["cached"] == sum(map(len, lines))
        assert set((await stage.ledger.asked(lines)).values()) == {1}
        fresh = await submit(client, "uncached", lines, cache=False)
        await fresh.result(120)
        assert set((await stage.ledger.asked(lines)).values()) == {2}


async def test_a_backlog_is_left_in_peace_and_a_lost_message_is_sent_again(
    tmp_path: Path,
) -> None:
    """20,000 jobs behind two that take up both slots; the message of one is taken away."""
    queue = keys.queue("live", "slow")
    with staged(tmp_path, workers=2, slots=1) as stage:
        async with stage.client() as client:
            redis: Any = client.ledger.connection.redis
            for n in range(2):
                await submit(client, f"stall-{n}", [f"Stall {n}."], stall=True)
            await stage.ledger.until("start", count=2)
            messages = [Msg(name="", content=f"{n}.", id=f"b{n}") for n in range(BACKLOG)]
            await client.submit_many(messages, model=MODEL)
            sent = int(await redis.get(keys.PATTERNS["SEQUENCE"]))
            waiting = await redis.llen(queue + BEHIND)
            lost = JobMessage.decode(await redis.rpop(queue + BEHIND))
            assert lost is not None
            # Whoever waits at the head of the line takes what is sent again.
            found = await redis.brpop([queue], timeout=120)
            assert found is not None, "the lost message was not sent again"
            again = JobMessage.decode(found[1])
            assert again is not None
            assert again.name == lost.name
            assert int(again.sequence) == sent + 1, "and no other one"
            assert await redis.llen(queue + BEHIND) == waiting - 1
            # Taken away once more, it is sent once more: the sweepers looked at all others twice.
            assert await redis.brpop([queue], timeout=120) is not None
            assert int(await redis.get(keys.PATTERNS["SEQUENCE"])) == sent + 2
            assert (await client.counts())[State.QUEUED] == BACKLOG
            for n in range(2):
                await client.job(f"stall-{n}").cancel()
