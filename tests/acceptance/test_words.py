"""Words with their times, through a real fleet: live, late, reused, resumed, found, captioned."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from speechfleet import AsyncClient, Msg, Word
from speechfleet.errors import InvalidRequest, JobNotFound
from speechfleet.keywords import SubmitKeywords
from speechfleet.ledger.keys import JobKeys
from speechfleet.store import layout
from tests.support.gateways import ESPEAK
from tests.support.slow_model import CHUNK, RATE, times_of_words
from tests.support.stage import MODEL, UNSERVED, Heard, Hold, Stage, sentences, staged, submit

TELLING = {"words": True}


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=2) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncGenerator[AsyncClient, None]:
    async with stage.client() as client:
        yield client


def told(lines: list[str], chunks: int = 5) -> list[Word]:
    """The words that the model tells, where these sentences are the segments of a job."""
    found: list[Word] = []
    at, size = 0, CHUNK * chunks
    for n, line in enumerate(lines):
        for a, b, start, end in times_of_words(line, size):
            first, last = (2 * round(second * RATE) + n * size for second in (start, end))
            found.append(Word(int(a) + at, int(b) + at, first, last, "provider"))
        at += len(line) + 1
    return found


async def test_words_are_the_same_live_late_and_from_the_store(client: AsyncClient) -> None:
    lines = sentences("the told", 4)
    job = await submit(client, "told", lines, options={**TELLING, "pace": 0.05})
    live = await Heard().listen(job)
    assert list(live.chunks[-1].words) == told(lines)
    marks = [mark for chunk in live.chunks for mark in chunk.marks]
    assert [(mark.index, mark.offset) for mark in marks] == [(n, n * CHUNK * 5) for n in range(4)]
    text = " ".join(lines)
    assert [text[mark.text_start : mark.text_end] for mark in marks] == lines
    first = next(chunk for chunk in live.chunks if chunk.marks)
    assert first.total <= CHUNK * 5, "a mark comes with the first audio of its segment"
    assert list((await Heard().listen(client.job("told"))).chunks[-1].words) == told(lines)
    speech = await job.result(timeout=120)
    assert await speech.words() == told(lines)
    await client.ledger.connection.redis.delete(JobKeys("default", "told").stream(1))
    expired = await Heard().listen(client.job("told"))
    assert [mark for chunk in expired.chunks for mark in chunk.marks] == marks
    assert list(expired.chunks[-1].words) == told(lines)
    assert await speech.words() == told(lines)


async def test_reused_segments_keep_their_words_wherever_they_lie(client: AsyncClient) -> None:
    lines = sentences("the reused", 3)
    await (await submit(client, "reused", lines, options=TELLING)).result(timeout=120)
    turned = lines[::-1]
    job = await submit(client, "reused again", turned, options=TELLING)
    heard = await Heard().listen(job)
    assert (await job.record()).usage.get("calls", 0) == 0
    assert list(heard.chunks[-1].words) == told(turned)
    assert await job.words() == told(turned)


async def test_a_killed_worker_costs_no_word(
    stage: Stage, client: AsyncClient, tmp_path: Path
) -> None:
    lines = sentences("the one killed among words", 4)
    hold = Hold(tmp_path, lines[-1])
    job = await submit(client, "killed", lines, options={**TELLING, **hold.options})
    listener = asyncio.create_task(Heard().listen(job))
    await stage.ledger.until("end", lines[1:2])
    boot = (await job.record()).boot
    [worker] = [worker for worker in stage.fleet.workers if worker.boot_id == boot]
    os.kill(worker.pid, signal.SIGKILL)
    hold.release()
    heard = await listener
    assert list(heard.chunks[-1].words) == told(lines)
    assert await job.words() == told(lines)


async def test_words_that_nobody_tells_are_found_and_kept(
    stage: Stage, client: AsyncClient
) -> None:
    line = "The words of this one are found by comparison."
    job = await submit(client, "found", [line], language="en")
    assert (await Heard().listen(job)).chunks[-1].words == ()
    assert await job.words(find=False) == []
    words = await job.words()
    assert [line[word.text_start : word.text_end] for word in words] == line[:-1].split()
    assert {word.source for word in words} == {"aligned"}
    [segment] = await job.segments()
    kept = layout.words_object("default", segment.hash)
    assert kept in await client.store.list()
    assert await job.words() == words
    await job.delete()
    assert kept not in await client.store.list()


async def test_a_segment_that_is_too_short_for_its_text_is_suspect(
    client: AsyncClient, tmp_path: Path
) -> None:
    line = "Half a second of noise is by no means all that stands in this sentence."
    job = await submit(client, "suspect", [line], language="en")
    await job.result(timeout=120)
    assert (await job.status()).suspect == [], "nobody has looked at it"
    name = json.dumps(["suspect_segments", MODEL, ""], separators=(",", ":"))
    before = (await client.ledger.overview.counts()).get(name, 0)
    for _ in range(2):
        await job.captions("srt")
        assert (await job.status()).suspect == [0]
    assert (await client.ledger.overview.counts())[name] == before + 1
    await job.retry()
    assert (await job.status()).suspect == []
    batch = client.batch(
        [("one", line)],
        model=MODEL,
        language="en",
        out=tmp_path,
        captions="vtt",
        words=True,
    )
    assert [entry["suspect"] async for entry in batch.results()] == [[0]]
    assert batch.summary.suspect == 1


async def test_words_and_captions_outlive_the_record(client: AsyncClient) -> None:
    lines = sentences("the expired", 3)
    marked = "**Nobody** remembers this record."
    whole, line = " ".join(lines), lines[0]
    usual: SubmitKeywords = {"model": MODEL, "options": TELLING}
    submitted: list[tuple[str, str, SubmitKeywords]] = [
        ("many", whole, usual),
        ("one", line, usual),
        ("coded", line, {**usual, "format": "mp3"}),
        ("marked", marked, {**usual, "speakable": "markdown"}),
    ]
    for id, text, keywords in submitted:
        job = await client.submit(Msg("", text, id=id), **keywords)
        speech = await job.result(timeout=120)
        words = await speech.words()
        assert words
        vtt = await job.captions("vtt", words=True)
        keys = JobKeys("default", id)
        await client.ledger.connection.redis.delete(keys.record, keys.segments(1), keys.stream(1))
        with pytest.raises(JobNotFound):
            await job.status()
        assert await speech.words() == words
        assert await client.job(id).captions("vtt", words=True) == vtt
        await job.delete()
        assert await client.store.list(layout.objects_of("default", id)) == []
        with pytest.raises(JobNotFound):
            await speech.words()


async def test_captions_of_a_job(client: AsyncClient) -> None:
    job = await client.submit(Msg("", "Hello there. How are you?", id="captions"), model=ESPEAK)
    with pytest.raises(InvalidRequest, match=r"csv"):
        await job.captions("csv")  # type: ignore[arg-type]
    await job.result(timeout=120)
    captions = await job.captions("vtt", words=True)
    assert captions.startswith("WEBVTT\n\n1\n00:00:00.000 --> 00:00:")
    assert ">there." in captions
    assert await job.captions("srt", by="segment") != await job.captions("srt", by="word")
    waiting = await client.submit("Nobody speaks this.", model=UNSERVED)
    with pytest.raises(InvalidRequest, match="has no audio yet"):
        await waiting.captions()
    await waiting.cancel()
    with pytest.raises(JobNotFound):
        await client.job("never").captions()
