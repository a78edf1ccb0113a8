"""Markup, pauses, lexicons, dialogues, takes, speed and loudness, through a fleet of processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from speechfleet import AsyncClient
from speechfleet.audio import wav
from speechfleet.dialogue import DialoguePart
from speechfleet.errors import IllegalTransition, InvalidRequest, JobFailed, UnknownModel
from speechfleet.job import AsyncJob
from tests.support.gateways import ESPEAK
from tests.support.slow_model import CHUNK, RATE, audio
from tests.support.stage import MODEL, Heard, Hold, Stage, spoken, staged

SPOKEN = CHUNK * 5
"""Bytes that the model says for each text."""


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1, sessions=True) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


async def pcm(job: AsyncJob, within: float = 120) -> bytes:
    return bytes(wav.decode(await (await job.result(within)).read()).pcm)


async def written(job: AsyncJob) -> list[str]:
    """The stretches of the submitted text that the segments stand for."""
    text = (await job.record()).request.text
    return [text[s.text_start : s.text_end] for s in await job.segments()]


async def test_markup_is_not_bought_and_marks_name_what_is_written(
    stage: Stage, client: AsyncClient
) -> None:
    text = "# Part II\n\nSay **hello** to SQL. [pause 500ms] See [it](https://a.b/c)."
    job = await client.submit(
        text, id="form", model=MODEL, speakable="markdown", lexicon={"SQL": "sequel"}
    )
    heard = await Heard().listen(job)
    texts = ["Part 2", "Say hello to sequel.", "See it."]
    silence = bytes(RATE // 2 * 2)
    assert heard.audio == spoken(texts[:2]) + silence + spoken(texts[2:])
    assert await pcm(job) == heard.audio
    assert dict(await stage.ledger.asked(texts)) == dict.fromkeys(texts, 1)
    stretches = [
        "Part II", "Say **hello** to SQL.", "[pause 500ms]", "See [it](https://a.b/c).",
    ]  # fmt: skip
    assert await written(job) == stretches
    marks = [mark for chunk in heard.chunks for mark in chunk.marks]
    assert [text[m.text_start : m.text_end] for m in marks] == stretches
    assert [m.offset for m in marks] == [0, SPOKEN, 2 * SPOKEN, 2 * SPOKEN + len(silence)]
    usage = (await job.status()).usage
    assert (usage["calls"], usage["billed"]) == (3, sum(map(len, texts)))


async def test_a_changed_entry_buys_the_segments_that_hold_the_word(
    stage: Stage, client: AsyncClient
) -> None:
    text = "The GIF is old. Nothing is in here. A GIF again."
    for number, said in enumerate(("jif", "gif")):
        job = await client.submit(text, id=f"gif{number}", model=MODEL, lexicon={"GIF": said})
        await job.result(120)
    kept = "Nothing is in here."
    changed = [
        text for said in ("jif", "gif") for text in (f"The {said} is old.", f"A {said} again.")
    ]
    assert dict(await stage.ledger.asked([kept, *changed])) == dict.fromkeys([kept, *changed], 1)


async def test_a_dialogue_is_one_audio_of_several_voices(
    stage: Stage, client: AsyncClient
) -> None:
    parts = [
        {"voice": "anna", "text": "We meet."}, {"voice": "ben", "text": "We meet. And part."},
        {"text": "They meet."},
    ]  # fmt: skip
    job = await client.submit(parts, id="dialogue", model=MODEL, voice="teller")  # type: ignore[arg-type]
    heard = await Heard().listen(job)
    assert heard.audio == spoken(["We meet.", "We meet.", "And part.", "They meet."])
    assert await written(job) == ["We meet.", "We meet.", "And part.", "They meet."]
    # The same words by another voice are other audio; by the same voice they are known.
    assert (await stage.ledger.asked(["We meet."]))["We meet."] == 2
    again = await client.submit("We meet.", id="anna again", model=MODEL, voice="anna")
    await again.result(120)
    assert (await stage.ledger.asked(["We meet."]))["We meet."] == 2


async def test_the_voices_of_a_dialogue_may_be_of_several_models(client: AsyncClient) -> None:
    parts: list[DialoguePart] = [
        {"voice": "anna", "text": "We meet."},
        {"voice": f"{ESPEAK}:en-us", "text": "A robot comes along."},
        {"voice": f"{MODEL}:ben", "text": "And part."},
    ]
    job = await client.submit(parts, id="models", model=MODEL, options={"pace": 0.01})
    heard = (await Heard().listen(job)).audio
    first, robot, last = await job.segments()
    assert await written(job) == [part["text"] for part in parts]
    assert heard[: first.end] == spoken(["We meet."])
    assert heard[last.start :] == spoken(["And part."])
    record = await job.record()
    assert (record.sample_rate, record.spoken_by) == (24_000, [MODEL, ESPEAK])
    alone = await client.submit("A robot comes along.", model=ESPEAK, voice="en-us")
    speech = await alone.result(120)
    assert (robot.end - robot.start) / 48_000 == pytest.approx(speech.duration, abs=0.001)
    with pytest.raises(UnknownModel, match="nowhere/"):
        await client.submit([{"voice": "nowhere/x:y", "text": "a"}], model=MODEL)


@pytest.mark.parametrize(
    ("parts", "message"),
    [([], "no parts"), ([{"text": "a"}, {"text": " … "}], "part 2 .* nothing to say"),
     ([{"txt": "a"}], "part 1 .* no mapping with a 'text'"),
     ([{"text": "a", "model": "b"}], "part 1 .* 'model'")],
    ids=["no parts", "an empty part", "no text", "a model of its own"],
)  # fmt: skip
async def test_a_wrong_dialogue_is_refused(
    client: AsyncClient, parts: list[dict[str, str]], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await client.submit(parts, model=MODEL)  # type: ignore[arg-type]


async def test_a_segment_is_spoken_again_alone_and_every_take_is_kept(
    stage: Stage, client: AsyncClient
) -> None:
    texts = ["It begins.", "It goes on.", "It ends."]
    job = await client.submit(" ".join(texts), id="takes", model=MODEL)
    first = await pcm(job)
    assert await job.takes() == []
    assert await job.respeak(1, text="It went on.") == 1
    assert await pcm(job) == spoken([texts[0], "It went on.", texts[2]])
    assert await written(job) == texts
    assert await job.respeak(1, text="It went on.") == 2
    await job.result(120)
    asked = await stage.ledger.asked([*texts, "It went on."])
    assert dict(asked) == {**dict.fromkeys(texts, 1), "It went on.": 2}
    await job.choose(1, 0)
    assert await pcm(job) == first
    assert [(t.number, t.chosen) for t in await job.takes()] == [(0, True), (1, False), (2, False)]
    assert await stage.ledger.asked([*texts, "It went on."]) == asked


async def test_the_only_segment_of_a_job_has_takes_too(stage: Stage, client: AsyncClient) -> None:
    job = await client.submit("All of it.", id="only", model=MODEL)
    await job.result(120)
    await job.respeak(0, voice="other")
    await job.result(120)
    await job.choose(0, 0)
    assert await pcm(job) == audio("All of it.", SPOKEN)
    assert (await stage.ledger.asked(["All of it."]))["All of it."] == 2


async def test_a_worker_that_dies_while_it_respeaks_buys_nothing_twice(
    stage: Stage, client: AsyncClient, tmp_path: Path
) -> None:
    texts, hold = ["Before it.", "The middle.", "After it."], Hold(tmp_path)
    job = await client.submit(" ".join(texts), id="killed", model=MODEL)
    await job.result(120)
    await job.respeak(1, text="Another middle.", options=hold.options)
    await stage.ledger.until("start", ["Another middle."])
    [call] = [c for c in stage.ledger.lines if c.text == "Another middle." and c.event == "start"]
    os.kill(call.pid, signal.SIGKILL)
    hold.release()
    assert await pcm(job) == spoken([texts[0], "Another middle.", texts[2]])
    asked = await stage.ledger.asked([*texts, "Another middle."])
    assert dict(asked) == {**dict.fromkeys(texts, 1), "Another middle.": 2}


async def test_what_cannot_be_spoken_again_says_why(client: AsyncClient) -> None:
    job = await client.submit("Some text.", id="refusals", model=MODEL, cache=False)
    await job.result(120)
    with pytest.raises(InvalidRequest, match="cache=False"):
        await job.respeak(0)
    waiting = await client.submit("Some other.", id="waits", model="nobody/paced")
    with pytest.raises(IllegalTransition, match="once it has ended"):
        await waiting.respeak(0)
    await waiting.cancel()
    ended = await client.submit("Some third.", id="third", model=MODEL)
    await ended.result(120)
    with pytest.raises(InvalidRequest, match="segments 0 to 0, not 3"):
        await ended.respeak(3)
    with pytest.raises(InvalidRequest, match="takes 0 to 0, not 1"):
        await ended.choose(0, 1)
    await ended.respeak(0, text="x" * 20_000)
    with pytest.raises(JobFailed, match=r"take 1 of segment 0 has 20,000 characters"):
        await ended.result(120)
    await ended.choose(0, 0)
    assert await pcm(ended) == audio("Some third.", SPOKEN)


async def test_a_speed_is_bought_once_and_is_other_audio(
    stage: Stage, client: AsyncClient
) -> None:
    for number, speed in enumerate((1.0, 2.0, 2.0)):
        job = await client.submit("Quick.", id=f"quick{number}", model=MODEL, speed=speed)
        speech = await job.result(120)
        assert speech.duration == pytest.approx(0.5 / speed, abs=0.08)
    # A speed of 1 in so many words is a request of its own, as ever.
    assert (await stage.ledger.asked(["Quick."]))["Quick."] == 2


async def test_a_loudness_is_told_and_late_listeners_hear_what_was_live(
    client: AsyncClient,
) -> None:
    job = await client.submit("Loud. And louder.", id="loud", model=MODEL, loudness=-30)
    live = await Heard().listen(job)
    speech = await job.result(120)
    assert live.audio == spoken(["Loud.", "And louder."])
    assert speech.gain is not None
    assert speech.gain < -10  # noise of full scale
    assert await pcm(job) != live.audio
    assert len(await pcm(job)) == len(live.audio)
    async with asyncio.timeout(120):
        assert (await Heard().listen(job)).audio == live.audio


async def test_a_session_speaks_markdown_sentence_by_sentence(
    stage: Stage, client: AsyncClient
) -> None:
    text = "**Well**, it [rains](https://a.b). [pause 250ms] Take `an umbrella` along."
    async with client.session(model=MODEL, id="session form", speakable="auto") as session:
        for end in range(5, len(text) + 5, 5):
            await session.push(text[:end])
        chunks = [chunk async for chunk in session.synthesize()]
    texts = ["Well, it rains.", "Take an umbrella along."]
    silence = bytes(RATE // 4 * 2)
    assert bytes(chunks[-1].audio) == spoken(texts[:1]) + silence + spoken(texts[1:])
    assert dict(await stage.ledger.asked(texts)) == dict.fromkeys(texts, 1)
    assert await written(session.job) == [
        "Well**, it [rains](https://a.b).", "[pause 250ms]", "Take `an umbrella` along.",
    ]  # fmt: skip
