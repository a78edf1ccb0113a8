"""Sessions heard while their text is open, at the listener's rate, within its patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from speechfleet import AsyncClient, Chunk, FirstAudioTimeout, JobCancelled, State
from speechfleet.audio.resampling import Resampler
from speechfleet.session import AsyncSession
from tests.support.slow_model import RATE
from tests.support.stage import MODEL, Stage, sentences, spoken, staged


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    # All texts are whole sentences, said at once: a pause cuts none of them.
    pause = {"SPEECHFLEET_SESSION_PAUSE": "0.5"}
    with staged(module_folder, pause, workers=1, lanes=["session"]) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


def at_rate(pcm: bytes, rate: int) -> bytes:
    resampler = Resampler(RATE, rate)
    return resampler.push(pcm) + resampler.finish()


class Ear:
    """Listens to a session in a task of its own."""

    def __init__(self, session: AsyncSession) -> None:
        self.chunks: list[Chunk] = []
        self.first = asyncio.Event()
        self.task = asyncio.create_task(self._listen(session))

    async def _listen(self, session: AsyncSession) -> bytes:
        async for chunk in session.listen():
            self.chunks.append(chunk)
            self.first.set()
        return b"".join(chunk.delta for chunk in self.chunks)


async def test_it_is_heard_before_its_text_is_complete(client: AsyncClient) -> None:
    lines = sentences("the listener", 2)
    async with client.session(model=MODEL, linear=True) as session:
        ear, other = Ear(session), Ear(session)
        await session.say(f"{lines[0]} ")
        await ear.first.wait()
        await session.say(lines[1])
        await session.complete()
        assert await ear.task == await other.task == spoken(lines)
        assert ear.chunks[-1].is_last


@pytest.mark.parametrize("end", ["interrupt", "close", "nothing to say"])
async def test_it_ends_in_silence_when_its_own_session_wants_no_more(
    client: AsyncClient, end: str
) -> None:
    async with client.session(model=MODEL, options={"chunks": 300}) as session:
        ear = Ear(session)
        if end == "nothing to say":
            await session.complete()
            assert await ear.task == b""
            return
        await session.say(f"{sentences(f'the {end}', 1)[0]} ")
        await ear.first.wait()
        await (session.interrupt() if end == "interrupt" else session.close())
        heard = await ear.task
    assert heard
    assert not ear.chunks[-1].is_last
    assert (await session.job.status()).state is State.CANCELLED


async def test_somebody_else_who_cancels_it_is_an_error(client: AsyncClient) -> None:
    async with client.session(model=MODEL, options={"chunks": 300}) as session:
        ear = Ear(session)
        await session.say(f"{sentences('the stranger', 1)[0]} ")
        await ear.first.wait()
        await client.job(session.id).cancel("by a stranger")
        with pytest.raises(JobCancelled, match="by a stranger"):
            await ear.task


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
async def test_it_is_heard_at_the_rate_that_was_asked_for(client: AsyncClient, rate: int) -> None:
    lines = sentences(f"rate {rate}", 2)
    async with client.session(model=MODEL, sample_rate=rate) as session:
        ear = Ear(session)
        await session.complete(" ".join(lines))
        assert await ear.task == at_rate(spoken(lines), rate)
        assert {chunk.sample_rate for chunk in ear.chunks} == {rate}
        assert bytes(ear.chunks[-1].audio) == at_rate(spoken(lines), rate)
    follower = client.job(session.id).stream(sample_rate=rate, linear=True, accumulate=False)
    assert b"".join([c.delta async for c in follower]) == at_rate(spoken(lines), rate)


async def test_bytes_that_were_played_count_at_the_rate_that_was_heard(
    client: AsyncClient,
) -> None:
    """Two sentences of half a second each; the second had just begun."""
    lines = sentences("what was played", 2)
    async with client.session(model=MODEL, sample_rate=48_000) as session:
        ear = Ear(session)
        await session.push(f"{' '.join(lines)} And")
        while not ear.chunks or ear.chunks[-1].seconds < 1.0:
            ear.first.clear()
            await ear.first.wait()
        assert await session.interrupt(played=2 * 48_000 // 2) == len(lines[0])


@pytest.mark.parametrize("listens", ["the session", "the job"])
async def test_audio_that_comes_late_ends_the_patience(client: AsyncClient, listens: str) -> None:
    async with client.session(
        model=MODEL, options={"pace": 30.0}, first_audio_timeout=0.5
    ) as session:
        await session.say(f"{sentences(f'the patience of {listens}', 1)[0]} ")
        heard = (
            session.listen()
            if listens == "the session"
            else session.job.stream(first_audio_timeout=0.5)
        )
        with pytest.raises(FirstAudioTimeout, match=r"within 0\.5 s; it goes on"):
            [chunk async for chunk in heard]
        if listens == "the session":
            with pytest.raises(FirstAudioTimeout):
                await session.say("More.")
        assert (await session.job.status()).state is State.RUNNING
