"""The same text, wanted by many at the same moment: spoken once, and nobody waits in a slot."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from speechfleet import Msg
from speechfleet.errors import JobCancelled
from tests.support.stage import MODEL, Hold, Stage, gather, sentences, spoken, staged, submit


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=2, slots=2) as stage:
        yield stage


async def test_jobs_with_the_same_text_are_one_call(stage: Stage) -> None:
    """Live and batch, at once; a text that a job repeats is no other."""
    lines = sentences("the chorus", 2)
    async with stage.client() as client:
        jobs = [
            await submit(client, f"voice {n}", [*lines, lines[0]], lane=lane, segments="sentence")
            for n in range(12)
            for lane in ("live" if n % 2 else "batch",)
        ]
        speeches = await gather(*(job.result() for job in jobs))
        assert await stage.ledger.asked(lines) == dict.fromkeys(lines, 1)
        heard = await gather(*(speech.read() for speech in speeches))
        assert all(audio.endswith(spoken([*lines, lines[0]])) for audio in heard)
        billed = sum(speech.usage.get("billed", 0) for speech in speeches)
        assert billed == sum(map(len, lines))


async def test_who_waits_for_a_text_holds_no_slot(stage: Stage, tmp_path: Path) -> None:
    """Four slots, one of them speaks; nine others want the same, and one wants another text."""
    slow, other = sentences("a slot", 2)
    hold = Hold(tmp_path)
    async with stage.client() as client:
        same = [await submit(client, f"same {n}", [slow], **hold.options) for n in range(10)]
        await stage.ledger.until("start", [slow])
        # Behind them in line: it comes up only once they have left the slots.
        passing = await submit(client, "passing", [other], pace=0.01)
        await stage.ledger.until("end", [other])
        assert not stage.ledger.calls("end", [slow])
        hold.release()
        await gather(passing.result(), *(job.result() for job in same))
        assert await stage.ledger.asked([slow]) == {slow: 1}


async def test_without_the_cache_each_job_speaks_for_itself(stage: Stage) -> None:
    (line,) = sentences("the uncached", 1)
    async with stage.client() as client:
        jobs = [await submit(client, f"alone {n}", [line], cache=False) for n in range(3)]
        await gather(*(job.result() for job in jobs))
        assert await stage.ledger.asked([line]) == {line: 3}


async def test_one_of_those_who_wait_goes_on_where_the_speaker_is_cancelled(
    stage: Stage, tmp_path: Path
) -> None:
    line, other = sentences("the cancelled", 2)
    hold = Hold(tmp_path)
    async with stage.client() as client:
        speaker = await submit(client, "speaker", [line], **hold.options)
        await stage.ledger.until("start", [line])
        others = [await submit(client, f"other {n}", [line], **hold.options) for n in range(9)]
        await (await submit(client, "behind them", [other], pace=0.0)).result()
        assert await speaker.cancel()
        hold.release()
        await gather(*(job.result() for job in others))
        with pytest.raises(JobCancelled):
            await speaker.result()
        assert await stage.ledger.asked([line]) == {line: 2}


async def test_a_speaker_that_is_killed_costs_one_more_call_at_most(tmp_path: Path) -> None:
    (line,), hold = sentences("the killed", 1), Hold(tmp_path)
    with staged(tmp_path, workers=2, slots=4) as stage:
        async with stage.client() as client:
            jobs = [
                await client.submit(Msg("", line, id=f"k{n}"), model=MODEL, options=hold.options)
                for n in range(6)
            ]
            await stage.ledger.until("start", [line])
            (call,) = [call for call in stage.ledger.lines if call.text == line]
            os.kill(call.pid, signal.SIGKILL)
            hold.release()
            speeches = await gather(*(job.result() for job in jobs))
            assert (await stage.ledger.asked([line]))[line] <= 2
            assert {speech.duration for speech in speeches} == {0.5}
