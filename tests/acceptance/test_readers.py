"""Readers of every kind hear the same: live, late, again, cut off, linear, raw, from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from speechfleet import Chunk
from speechfleet.chunks import AudioEntry, SegmentEntry
from speechfleet.errors import InvalidRequest
from speechfleet.job import AsyncJob
from speechfleet.ledger.keys import JobKeys
from tests.support.slow_model import CHUNK, TUTORIAL, audio
from tests.support.stage import Heard, Hold, Stage, gather, sentences, spoken, staged, submit

TTL = 600.0
"""Longer than any machine takes from the end of a job to a look at its stream."""
WINDOW = 4 * CHUNK


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    """Long streams are trimmed early."""
    environ = {"SPEECHFLEET_STREAM_TTL": str(TTL), "SPEECHFLEET_STREAM_WINDOW": str(WINDOW)}
    with staged(module_folder, environ, workers=2, slots=40) as stage:
        yield stage


async def test_a_late_reader_hears_what_an_early_one_heard(stage: Stage) -> None:
    lines = sentences("the latecomers", 6)
    async with stage.client() as client:
        job = await submit(client, "late", lines, pace=0.05)
        early = asyncio.create_task(Heard().listen(job))
        late = []
        for line in lines[:5]:
            await stage.ledger.until("end", [line])
            late.append(asyncio.create_task(Heard().listen(client.job("late"))))
        for listener in await gather(early, *late):
            assert listener.audio == spoken(lines)
            assert listener.rewinds == 0
        assert (await Heard().listen(client.job("late"))).audio == spoken(lines)


async def test_a_reader_that_was_cut_off_goes_on_where_it_was(stage: Stage) -> None:
    lines = sentences("the cut off", 8)
    async with stage.client() as client:
        job = await submit(client, "cut off", lines, pace=0.05)
        listeners = [asyncio.create_task(Heard().listen(job)) for _ in range(5)]
        for line in lines[::3]:
            await stage.ledger.until("end", [line])
            await stage.cut("normal")
        for listener in await gather(*listeners):
            assert listener.audio == spoken(lines)
            assert listener.rewinds == 0
        assert set((await stage.ledger.asked(lines)).values()) == {1}


async def test_after_its_stream_has_expired_a_job_is_read_from_the_store(stage: Stage) -> None:
    """Whatever its format: plain samples from the object, others from the stored segments."""
    async with stage.client() as client:
        jobs = {
            format: await submit(client, f"expired {format}", _lines(format), format=format)
            for format in ("wav", "pcm", "flac", "opus")
        }
        for job in jobs.values():
            await job.result(timeout=60)
        for format, job in jobs.items():
            await _expired(stage, job)
            heard = await Heard().listen(job)
            assert heard.audio == spoken(_lines(format))
            assert heard.chunks[-1].sample_rate == 24_000
            failed_over = await Heard().listen(job, linear=True)
            assert failed_over.audio == spoken(_lines(format))


def _lines(format: str) -> list[str]:
    return sentences(f"the expired {format}", 3)


async def _expired(stage: Stage, job: AsyncJob) -> None:
    """Once the server has let go of the job's stream: it says when that will be."""
    async with stage.client() as client:
        redis = client.ledger.connection.redis
        stream = JobKeys("default", job.id).stream(1)
        assert 0 < await redis.pttl(stream) <= TTL * 1000
        await redis.pexpire(stream, 1)
        async with asyncio.timeout(120):
            while await redis.exists(stream):
                pass


async def test_a_long_job_leaves_redis_as_it_is_stored(stage: Stage) -> None:
    """Its oldest audio is trimmed; who comes late has all of it all the same."""
    lines = sentences("the long", 20)
    async with stage.client() as client:
        job = await submit(client, "long", lines, pace=0.02)
        early = asyncio.create_task(Heard().listen(job, accumulate=False))
        await stage.ledger.until("end", lines[15:16])
        entries = await client.ledger.jobs.entries("default", "long", 1, count=9999)
        held = [entry for _, entry in entries if isinstance(entry, AudioEntry)]
        assert held[0].offset > 0, "nothing was trimmed"
        late = await Heard().listen(client.job("long"))
        assert late.audio == spoken(lines)
        assert (await early).linear == spoken(lines)
        assert await client.ledger.stream_budget.bytes() < 40 * len(spoken(lines[:1]))


async def test_without_accumulating_only_the_deltas_are_there(stage: Stage) -> None:
    lines = sentences("the deltas", 3)
    async with stage.client() as client:
        job = await submit(client, "deltas", lines)
        heard = await Heard().listen(job, accumulate=False)
        assert heard.linear == spoken(lines)
        with pytest.raises(InvalidRequest, match="accumulate"):
            _ = heard.chunks[0].audio


async def test_the_accumulated_wire_repeats_all_the_audio_in_each_entry(stage: Stage) -> None:
    lines = sentences("the accumulated", 3)
    async with stage.client() as client:
        job = await submit(client, "accumulated", lines, wire="accumulated")
        assert (await Heard().listen(job)).audio == spoken(lines)
        entries = await client.ledger.jobs.entries("default", "accumulated", 1, count=9999)
        audible = [entry for _, entry in entries if isinstance(entry, AudioEntry)]
        assert len(audible) == 15
        for entry in audible:
            assert entry.offset == 0
            assert entry.data == spoken(lines)[: entry.total]


async def test_a_batch_job_publishes_no_audio_and_is_heard_from_the_store(stage: Stage) -> None:
    lines = sentences("the batch", 4)
    text = " ".join(lines)
    async with stage.client() as client:
        job = await submit(client, "batch", lines, lane="batch", segments="sentence")
        heard = asyncio.create_task(Heard().listen(job))
        packed = await submit(client, "packed", [text], lane="batch")
        assert (await heard).audio == spoken(lines)
        assert (await Heard().listen(packed)).audio == spoken([text])
        for id in ("batch", "packed"):
            entries = await client.ledger.jobs.entries("default", id, 1, count=9999)
            assert not any(isinstance(entry, AudioEntry) for _, entry in entries)
            segments = [entry for _, entry in entries if isinstance(entry, SegmentEntry)]
            assert segments[-1].text_end == len(text)
        live = await submit(client, "batch, live", lines, lane="batch", live=True, cache=False)
        await Heard().listen(live)
        entries = await client.ledger.jobs.entries("default", "batch, live", 1, count=9999)
        assert any(isinstance(entry, AudioEntry) for _, entry in entries)


async def test_a_linear_reader_never_unhears_through_a_take_over(
    stage: Stage, tmp_path: Path
) -> None:
    """The worker dies in the middle of a segment: the others rewind, this one waits."""
    lines, hold = sentences("the linear", 2), Hold(tmp_path)
    async with stage.client() as client:
        job = await submit(client, "linear", lines, **hold.options)
        linear = asyncio.create_task(Heard().listen(job, linear=True))
        free = asyncio.create_task(Heard().listen(job))
        chunks = job.stream()
        assert (await anext(chunks)).total > 0
        boot = (await job.record()).boot
        [victim] = [worker for worker in stage.fleet.workers if worker.boot_id == boot]
        victim.kill()
        hold.release()
        for listener in await gather(linear, free):
            assert listener.audio == spoken(lines)
        assert linear.result().rewinds == 0
        assert free.result().rewinds == 1
        heard = [chunk async for chunk in chunks]
        assert bytes(heard[-1].audio) == spoken(lines)


async def test_agentscopes_tutorial_stream_goes_through_the_fleet_unchanged(stage: Stage) -> None:
    """Its base64 lengths are those that AgentScope prints, accumulated, the last one twice."""
    text = "The tutorial's message."
    async with stage.client() as client:
        job = await submit(
            client, "tutorial", [text], model="slow/tutorial", wire="accumulated", pace=0.01
        )
        chunks: list[Chunk] = [chunk async for chunk in job.stream()]
        whole = audio(text, TUTORIAL[-1] // 4 * 3)
        assert bytes(chunks[-1].audio) == whole
        lengths, before = [], ""
        for chunk in chunks:
            response = chunk.response()
            assert response.content is not None
            data = response.content["source"]["data"]
            assert data.startswith(before)
            assert response.content["source"]["media_type"] == "audio/pcm;rate=24000"
            assert response.is_last is chunk.is_last
            lengths.append(len(data))
            before = data
        assert tuple(lengths) == TUTORIAL
