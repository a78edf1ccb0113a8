"""Fallback voices over a real Valkey: who speaks what, and what is written down of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from speechfleet.cli.app import run
from speechfleet.client import AsyncClient
from speechfleet.errors import (
    IncompleteAudio,
    InvalidRequest,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from speechfleet.fallback import FallbackVoice, read_fallback
from speechfleet.gateway import create_app
from speechfleet.gateway.context import Gateway
from speechfleet.ledger import keys
from speechfleet.request import Lane
from speechfleet.settings import Settings
from tests.support.two_providers import (
    PROVIDERS,
    First,
    Second,
    Third,
    Workers,
    audio_of,
    two_providers,
)
from tests.support.usages import usage_of

PAUSE_S = 300.0
"""Longer than any test here takes."""
SENTENCES = ["The first sentence.", "The second sentence.", "The third sentence."]
TEXT = " ".join(SENTENCES)
DOWN = ProviderUnavailable("down")


@pytest.fixture
async def fleet(redis_url: str, folder_store_url: str) -> AsyncIterator[Workers]:
    async with two_providers(redis_url, folder_store_url, look_ahead=0) as workers:
        yield workers


def texts(kind: type[First | Second | Third]) -> list[str]:
    return [text for _, text in kind.calls]


async def test_before_the_first_audio_a_job_falls_back_at_once(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"])
    First.error = DOWN
    job = await fleet.client.submit(TEXT, model="first/m", fallback=["second/n:nova"])
    assert (await fleet.run(worker, job.id)).state == "succeeded"
    assert texts(First) == SENTENCES[:1]
    assert Second.calls == [("nova", sentence) for sentence in SENTENCES]
    record = await job.record()
    assert record.spoken_by == ["second/n"]
    assert record.speaker_of(0) == ("second/n", "nova")
    assert record.sample_rate == 16_000, "nothing was heard: the rate is the new voice's"
    usage = await usage_of(fleet.client.ledger.jobs, fleet.client.namespace)
    assert usage["second/n"]["billed"] == len("".join(SENTENCES))
    assert usage["first/m"] == {"calls": 1}


async def test_the_rest_of_a_job_stays_with_the_new_voice(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"])
    First.error, First.fails_from, First.cut_off = DOWN, 1, True
    job = await fleet.client.submit(TEXT, model="first/m", voice="nova", fallback=["second/n"])
    await fleet.run(worker, job.id)  # a voice that was heard is tried twice
    assert (await fleet.run(worker, job.id)).state == "succeeded"
    assert texts(First) == [SENTENCES[0], SENTENCES[1], SENTENCES[1]]
    assert Second.calls == [("nova", sentence) for sentence in SENTENCES[1:]]

    chunks = [chunk async for chunk in job.stream()]
    marks = {mark.index: mark for chunk in chunks for mark in chunk.marks}
    assert [(m.model, m.voice) for m in marks.values()] == [("", ""), *[("second/n", "nova")] * 2]
    assert [TEXT[m.text_start : m.text_end] for m in marks.values()] == SENTENCES
    speech = await job.result(timeout=60)
    first = audio_of(First, SENTENCES[0])
    audio = bytes(chunks[-1].audio)
    edge = 1000  # bytes, in which it is faded
    assert audio[edge : len(first) - edge] == first[edge:-edge]
    rest = sum(len(audio_of(First, sentence)) for sentence in SENTENCES[1:])
    assert len(audio) == len(first) + rest, "resampled to the rate of the first voice"
    assert speech.sample_rate == 24_000

    record = await job.record()
    assert record.spoken_by == ["first/m", "second/n"]
    assert [record.speaker_of(n)[0] for n in range(3)] == ["first/m", "second/n", "second/n"]
    assert [event for _, event, _ in record.history].count("fall_back") == 1


async def test_audio_of_a_fallback_is_not_found_under_the_first_choice(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"])
    First.error, First.fails_from = QuotaExceeded("no credit"), 1
    job = await fleet.client.submit(TEXT, model="first/m", fallback=["second/n"])
    await fleet.run(worker, job.id)
    First.reset()
    again = await fleet.client.submit(TEXT, id="again", model="first/m")
    await fleet.run(worker, again.id)
    assert texts(First) == SENTENCES[1:], "the first one alone was stored"
    Second.reset()
    other = await fleet.client.submit(TEXT, id="other", model="second/n")
    await fleet.run(worker, other.id)
    assert texts(Second) == SENTENCES, "what was resampled is not the model's own audio"


@pytest.mark.parametrize(
    "error",
    [
        RequestRejected("not these words"),
        IncompleteAudio("cut off"),
        RateLimited("", retry_after=0.5),
    ],
    ids=["rejected", "incomplete", "limited-for-a-moment"],
)
async def test_what_no_other_provider_mends_is_left_to_the_first(
    fleet: Workers, error: Exception
) -> None:
    worker = await fleet.start(["first", "second"])
    First.error = error
    job = await fleet.client.submit(TEXT, model="first/m", fallback=["second/n"])
    await fleet.run(worker, job.id)
    assert Second.calls == []
    assert (await job.record()).turns == ()


async def test_a_limit_beyond_patience_is_not_waited_out(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"])
    First.error = RateLimited("", retry_after=30)
    for id in ("a", "b"):  # the second one would have to wait for the fleet's own pause
        await fleet.client.submit(id * 9, id=id, model="first/m", fallback="second/n")
        assert (await fleet.run(worker, id)).state == "succeeded"
    assert len(First.calls) == 1


async def test_a_voice_that_no_worker_serves_is_passed_over(fleet: Workers) -> None:
    worker = await fleet.start(["first", "third"])
    First.error = DOWN
    job = await fleet.client.submit(TEXT, model="first/m", fallback=["second/n", "third/o"])
    assert (await fleet.run(worker, job.id)).state == "succeeded"
    assert texts(Third) == SENTENCES


async def test_without_a_voice_that_is_served_the_job_is_tried_again(fleet: Workers) -> None:
    worker = await fleet.start(["first"])
    First.error = DOWN
    job = await fleet.client.submit(TEXT, model="first/m", fallback=["second/n"])
    assert (await fleet.run(worker, job.id)).state == "retry"


async def test_a_job_moves_to_a_worker_that_serves_the_voice(fleet: Workers) -> None:
    here, there = await fleet.start(["first"]), await fleet.start(["second"])
    First.error, First.fails_from = QuotaExceeded("no credit"), 1
    job = await fleet.client.submit(TEXT, model="first/m", fallback=["second/n:alloy"])
    assert (await fleet.run(here, job.id)).state == "handed_over"
    record = await job.record()
    assert (record.queue, record.state) == (keys.queue(Lane.LIVE, "second"), "QUEUED")
    assert (await fleet.run(there, job.id)).state == "succeeded"
    assert Second.calls == [("alloy", sentence) for sentence in SENTENCES[1:]]
    await job.retry()
    record = await job.record()
    assert (record.queue, record.turns) == (keys.queue(Lane.LIVE, "first"), ())


async def test_a_job_belongs_to_the_queue_of_the_voice_that_speaks(fleet: Workers) -> None:
    """So whoever takes it over when its worker dies has the provider."""
    worker = await fleet.start(["first", "second"])
    First.error, Second.error = QuotaExceeded("no credit"), RequestRejected("not these words")
    job = await fleet.client.submit("Hello.", model="first/m", fallback=["second/n"])
    assert (await fleet.run(worker, job.id)).state == "failed"
    queues = [keys.queue(Lane.LIVE, name) for name in ("first", "second")]
    assert (await job.record()).queue == queues[1]
    scripts = fleet.client.ledger.connection.scripts
    for queue in queues:
        assert await scripts.call("HGETALL", keys.held(queue)) == {}, "no slot is held any more"


async def test_the_setting_of_the_workers_holds_for_jobs_that_say_nothing(fleet: Workers) -> None:
    voices = {"first": read_fallback("second/n:nova")}
    worker = await fleet.start(["first", "second"], fallback=voices)
    First.error = QuotaExceeded("no credit")
    job = await fleet.client.submit("Hello.", model="first/m", options={"pitch": 2})
    assert (await fleet.run(worker, job.id)).state == "succeeded"
    assert Second.calls == [("nova", "Hello.")]
    none = await fleet.client.submit("Hello!", model="first/m", fallback=[])
    assert (await fleet.run(worker, none.id)).state == "failed"


async def test_the_rest_is_cut_by_the_limit_of_the_new_voice(fleet: Workers) -> None:
    """A worker that takes over later has to find the same segments."""
    worker = await fleet.start(["first", "second"])
    text = "Short one. A sentence that is too long for the second provider. The end."
    First.error, First.fails_from = QuotaExceeded("no credit"), 1
    Second.error, Second.fails_from = DOWN, 1
    job = await fleet.client.submit(text, model="first/m", fallback=["second/n"])
    await fleet.run(worker, job.id)
    Second.error = None
    assert (await fleet.run(worker, job.id)).state == "succeeded"
    assert texts(First) == ["Short one.", "A sentence that is too long for the second provider."]
    assert all(len(spoken) <= 30 for spoken in texts(Second))
    segments = await fleet.client.ledger.jobs.segments("default", job.id, 1)
    assert "".join(text[s.text_start : s.text_end] for s in segments).replace(" ", "") == (
        text.replace(" ", "")
    )


async def test_each_take_over_is_the_next_in_line(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second", "third"])
    First.error = Second.error = DOWN
    job = await fleet.client.submit("Hello.", model="first/m", fallback=["second/n", "third/o"])
    assert (await fleet.run(worker, job.id)).state == "succeeded"
    assert [turn.by.model for turn in (await job.record()).turns] == ["second/n", "third/o"]


@pytest.mark.parametrize("together", [True, False], ids=["one-worker", "two-workers"])
async def test_a_session_is_spoken_on_by_the_next_voice(fleet: Workers, together: bool) -> None:
    here = await fleet.start(["first", "second"] if together else ["first"], Lane.SESSION)
    First.error, First.fails_from, First.cut_off = ProviderUnavailable("down"), 1, True
    session = fleet.client.session(model="first/m", fallback=["second/n:nova"], open_timeout=60)
    if not together:
        there = await fleet.start(["second"], Lane.SESSION)
    opening = asyncio.create_task(session.open())
    async with asyncio.timeout(60):
        while await fleet.client.ledger.jobs.find("default", session.id) is None:
            pass  # each look is a round trip to the server
    running = asyncio.create_task(fleet.run(here, session.id))
    await opening
    await session.say(TEXT)
    await session.complete()
    if not together:
        assert (await running).state == "handed_over"
        running = asyncio.create_task(fleet.run(there, session.id))
    assert (await running).state == "succeeded"
    assert texts(First) == [SENTENCES[0], SENTENCES[1], SENTENCES[1]]
    assert Second.calls == [("nova", sentence) for sentence in SENTENCES[1:]]
    speech = await session.job.result(timeout=60)
    assert speech.duration * 1000 == pytest.approx(10 * len("".join(SENTENCES)), abs=5)


async def test_an_open_breaker_spares_the_failing_call_to_the_others(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"], breaker_failures=2, breaker_pause=PAUSE_S)
    First.error = DOWN
    for id in ("a", "b", "c"):
        await fleet.client.submit(id * 9, id=id, model="first/m", fallback="second/n")
        assert (await fleet.run(worker, id)).state == "succeeded"
    assert texts(First) == ["a" * 9, "b" * 9]
    [breaker] = await fleet.client.ledger.breakers.all()
    assert (breaker.provider, breaker.state, breaker.code) == ("first", "open", DOWN.code)
    assert 0 < breaker.probe_in <= PAUSE_S
    assert (await fleet.client.job("c").record()).turns[0].code == "breaker_open"


async def test_a_probe_that_is_answered_closes_the_breaker(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"], breaker_failures=1, breaker_pause=0.001)
    First.error = DOWN
    for id in ("a", "b"):
        await fleet.client.submit(id * 9, id=id, model="first/m", fallback="second/n")
        await fleet.run(worker, id)
        First.error = None
    assert texts(First) == ["a" * 9, "b" * 9], "the second one was the probe"
    assert await fleet.client.ledger.breakers.all() == []


async def test_segments_of_several_voices_cannot_be_taken_again(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"])
    First.error = DOWN
    job = await fleet.client.submit(TEXT, model="first/m", fallback=["second/n"])
    await fleet.run(worker, job.id)
    with pytest.raises(InvalidRequest, match="fallback voice"):
        await job.respeak(1)


async def test_the_accumulated_wire_keeps_its_voice_once_it_was_heard(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"])
    First.error, First.fails_from = QuotaExceeded("no credit"), 1
    job = await fleet.client.submit(
        TEXT, model="first/m", fallback=["second/n"], wire="accumulated"
    )
    assert (await fleet.run(worker, job.id)).state == "failed"
    assert Second.calls == []


async def test_over_http_a_job_names_them_and_shows_who_spoke(fleet: Workers) -> None:
    worker = await fleet.start(["first", "second"])
    First.error, First.fails_from = QuotaExceeded("no credit"), 1
    app = create_app(fleet.settings)
    gateway = app.state.gateway = Gateway(fleet.settings)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    order = {"text": TEXT, "model": "first/m", "voice": "mine", "id": "job"}
    voices = [{"model": "second/n", "voices": {"mine": "nova"}}]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as web:
        refused = await web.post("/jobs", json={**order, "fallback": ["nothing"]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")
        assert (await web.post("/jobs", json={**order, "fallback": voices})).status_code == 201
        await fleet.run(worker, "job")
        shown = (await web.get("/jobs/job")).json()
        measured = (await web.get("/metrics")).text
    await gateway.close()
    assert shown["fallbacks"] == [
        {"segment": 1, "model": "second/n", "voice": "nova", "code": "quota_exceeded"}
    ]
    assert [(each["model"], each["voice"]) for each in shown["segments"]] == [
        ("first/m", "mine"), ("second/n", "nova"), ("second/n", "nova"),
    ]  # fmt: skip
    assert 'speechfleet_circuit_breaker{provider="first",state="open"} 1.0' in measured


def test_the_command_line_names_them_in_their_order(
    redis_url: str,
    folder_store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", redis_url)
    monkeypatch.setenv("SPEECHFLEET_STORE", folder_store_url)
    monkeypatch.setenv("SPEECHFLEET_PROVIDERS", PROVIDERS)
    named = ["--fallback", "second/n:nova", "--fallback", "third/o"]
    assert run(["submit", "Hello.", "--id", "job", "--model", "first/m", *named]) == 0
    assert run(["submit", "Hello.", "--model", "first/m", "--fallback", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
    assert asyncio.run(recorded("job")) == read_fallback("second/n:nova, third/o")


async def recorded(id: str) -> tuple[FallbackVoice, ...] | None:
    async with AsyncClient(Settings.load()) as client:
        return (await client.job(id).record()).request.form.fallback
