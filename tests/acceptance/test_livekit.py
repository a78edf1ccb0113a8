"""LiveKit Agents speaks through the fleet: what its own tests ask of any voice, asked of ours."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from livekit.agents import APIConnectOptions, APIError, APIStatusError, APITimeoutError, tts
from livekit.agents.metrics import TTSMetrics
from livekit.agents.tts import FallbackAdapter, StreamAdapter

from speechfleet import AsyncClient, State
from speechfleet.integrations.livekit import FleetTTS
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault
from tests.support.livekit_agent import Stream, talking, whole, written
from tests.support.stage import Stage, staged
from tests.support.three_sentences import DELTAS, MILLISECONDS, MODEL, SENTENCES, spoken


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAIServer]:
    with OpenAIServer(milliseconds=MILLISECONDS).thread() as server:
        yield server


@pytest.fixture(scope="module")
def stage(module_folder: Path, provider: OpenAIServer) -> Iterator[Stage]:
    """A worker for jobs, and one for sessions, which cuts no sentence on a slow machine."""
    environ = provider.environment()
    with staged(module_folder, environ, sessions=True) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


@pytest.fixture
def voice(client: AsyncClient) -> FleetTTS:
    return FleetTTS(MODEL, voice="alloy", client=client)


def voiced(pcm: bytes) -> list[int]:
    """The samples without those of the pauses between sentences, which depend on the cuts."""
    return [sample for sample in array("h", pcm) if sample]


def check_shape(heard: Stream, metrics: list[TTSMetrics], text: str) -> None:
    """What LiveKit's own suite asks of every plugin."""
    assert heard.error is None
    assert len({event.request_id for event in heard.events}) == 1
    assert all(event.request_id for event in heard.events)
    assert len({event.segment_id for event in heard.events}) == 1
    assert [event.is_final for event in heard.events].count(True) == 1
    assert heard.events[-1].is_final
    for event in heard.events:
        assert event.frame.num_channels == 1
        assert event.frame.sample_rate == 24_000
        assert 0 < event.frame.duration < 0.25
    [measured] = metrics
    assert measured.characters_count == len(text)
    assert measured.audio_duration == pytest.approx(sum(e.frame.duration for e in heard.events))
    assert 0 < measured.ttfb < measured.duration
    assert measured.metadata is not None
    assert measured.metadata.model_name == "gpt-4o-mini-tts"
    assert measured.metadata.model_provider == "openai"


# --- shape ----------------------------------------------------------------------------------


async def test_a_stream_has_the_shape_that_livekit_wants(voice: FleetTTS) -> None:
    metrics: list[TTSMetrics] = []
    voice.on("metrics_collected", metrics.append)
    heard = await written(voice, DELTAS)
    check_shape(heard, metrics, "".join(DELTAS))
    assert heard.pcm == spoken(*SENTENCES)
    assert metrics[0].streamed


async def test_a_whole_text_has_the_shape_that_livekit_wants(voice: FleetTTS) -> None:
    metrics: list[TTSMetrics] = []
    voice.on("metrics_collected", metrics.append)
    text = " ".join(SENTENCES)
    heard = await whole(voice, text)
    check_shape(heard, metrics, text)
    assert voiced(heard.pcm) == voiced(spoken(*SENTENCES))
    assert not metrics[0].streamed


async def test_markdown_is_not_read_aloud(client: AsyncClient, voice: FleetTTS) -> None:
    deltas = ["It is **very", "** good. ", "See [the ", "docs](https://a.b/c), please."]
    said = voiced(spoken("It is very good.", "See the docs, please."))
    assert voiced((await written(voice, deltas)).pcm) == said
    assert voiced((await whole(voice, "".join(deltas))).pcm) == said
    plain = FleetTTS(MODEL, voice="alloy", client=client, speakable="off")
    assert voiced((await written(plain, ["**Very** good."])).pcm) == voiced(
        spoken("**Very** good.")
    )


async def test_the_request_id_is_the_id_in_the_fleet(voice: FleetTTS, client: AsyncClient) -> None:
    heard = await written(voice, ["To be found again."])
    status = await client.job(heard.events[0].request_id).status()
    assert (status.state, status.lane) == (State.SUCCEEDED, "session")
    heard = await whole(voice, "This one as well.")
    status = await client.job(heard.events[0].request_id).status()
    assert (status.state, status.lane) == (State.SUCCEEDED, "live")


@pytest.mark.parametrize("deltas", [[], [""], ["  ", "\n"]], ids=["nothing", "empty", "blank"])
async def test_a_text_with_nothing_in_it_is_no_error(
    voice: FleetTTS, client: AsyncClient, deltas: list[str]
) -> None:
    before = len(await client.jobs())
    heard = await written(voice, deltas)
    assert (heard.events, heard.error) == ([], None)
    heard = await whole(voice, "".join(deltas))
    assert (heard.events, heard.error) == ([], None)
    assert len(await client.jobs()) == before


async def test_a_text_without_a_word_is_no_error(voice: FleetTTS) -> None:
    """LiveKit takes a text without audio for a failure."""
    for heard in [await written(voice, ["..."]), await whole(voice, "...")]:
        assert heard.error is None
        assert heard.pcm


async def test_another_rate_is_what_livekit_hears(client: AsyncClient) -> None:
    voice = FleetTTS(MODEL, voice="alloy", client=client, sample_rate=16_000)
    heard = await written(voice, DELTAS)
    assert {event.frame.sample_rate for event in heard.events} == {16_000}
    assert len(heard.pcm) * 24 == len(spoken(*SENTENCES)) * 16


async def test_options_change_from_one_speech_to_the_next(
    voice: FleetTTS, provider: OpenAIServer
) -> None:
    voice.update_options(voice="nova", options={"instructions": "Whisper."})
    await written(voice, ["In another voice, with another mood."])
    assert provider.calls[-1].request["voice"] == "nova"
    assert provider.calls[-1].request["instructions"] == "Whisper."


async def test_it_is_made_anywhere_and_speaks_where_a_loop_runs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stage.fleet.environ.items():
        monkeypatch.setenv(name, value)

    def made() -> FleetTTS:
        voice = FleetTTS(MODEL, voice="alloy")
        voice.prewarm()
        return voice

    voice = await asyncio.to_thread(made)
    voice.prewarm()
    heard = await written(voice, ["Made in a thread."])
    assert heard.pcm == spoken("Made in a thread.")
    await voice.aclose()


# --- errors ---------------------------------------------------------------------------------


@pytest.fixture
def silent(client: AsyncClient) -> FleetTTS:
    """A voice whose provider never answers."""
    return FleetTTS("slow/paced", client=client, options={"pace": 1000.0})


async def test_a_provider_that_never_answers_is_a_timeout(silent: FleetTTS) -> None:
    errors: list[tts.TTSError] = []
    silent.on("error", errors.append)
    clock = asyncio.get_running_loop().time
    began = clock()
    options = APIConnectOptions(max_retry=0, timeout=1.0)
    heard = await written(silent, ["Nobody says this."], options=options)
    assert isinstance(heard.error, APITimeoutError)
    assert 0.9 < clock() - began < 200.0, "not the patience of the worker"
    assert [error.recoverable for error in errors] == [False]


async def test_every_retry_is_told_and_only_the_last_is_final(silent: FleetTTS) -> None:
    errors: list[tts.TTSError] = []
    metrics: list[TTSMetrics] = []
    silent.on("error", errors.append)
    silent.on("metrics_collected", metrics.append)
    options = APIConnectOptions(max_retry=3, timeout=1.0, retry_interval=0.0)
    heard = await whole(silent, "Nobody says this either.", options=options)
    assert isinstance(heard.error, APITimeoutError)
    assert [error.recoverable for error in errors] == [True, True, True, False]
    assert metrics == []


async def test_a_late_first_audio_is_tried_again_and_the_text_is_not_lost(
    voice: FleetTTS, provider: OpenAIServer
) -> None:
    provider.script(Fault("slow_first_byte"))
    options = APIConnectOptions(max_retry=1, timeout=12.0, retry_interval=0.0)
    heard = await written(voice, ["The second try ", "says this."], options=options)
    assert heard.error is None
    assert heard.pcm == spoken("The second try says this.")


@pytest.mark.parametrize(
    ("model", "fault", "status"),
    [
        ("openai/gpt-4o-mini-tts", Fault("status", 401, "invalid_api_key"), 401),
        ("openai/gpt-4o-mini-tts", Fault("status", 400, "invalid_parameter"), 400),
        ("openai/no-such-voice-model", Fault("status", 404, "model_not_found"), 400),
    ],
    ids=["key", "text", "model"],
)
async def test_what_will_never_work_is_not_tried_again(
    client: AsyncClient, provider: OpenAIServer, model: str, fault: Fault, status: int
) -> None:
    provider.script(fault)
    voice = FleetTTS(model, voice="alloy", client=client)
    errors: list[tts.TTSError] = []
    voice.on("error", errors.append)
    heard = await written(voice, [f"This ends with {status} for {model}."])
    assert isinstance(heard.error, APIStatusError)
    assert heard.error.status_code == status
    assert [error.recoverable for error in errors] == [False]


async def test_a_text_that_is_refused_half_way_is_told(voice: FleetTTS) -> None:
    heard = await written(voice, ["This is well and good. ", "But this \ud800 is not."])
    assert isinstance(heard.error, APIStatusError)
    assert heard.error.status_code == 400
    assert "illegal_text" in str(heard.error)


async def test_a_fleet_that_is_down_is_a_connection_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
    voice = FleetTTS(MODEL, voice="alloy")
    voice.prewarm()
    options = APIConnectOptions(max_retry=1, timeout=1.0, retry_interval=0.0)
    heard = await written(voice, ["Nobody hears this."], options=options)
    assert isinstance(heard.error, APIError)
    assert heard.error.retryable
    assert "fleet_unavailable" in str(heard.error)
    await voice.aclose()


# --- beside others --------------------------------------------------------------------------


async def test_a_fallback_goes_on_with_the_fleet(
    voice: FleetTTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first member has no fleet at all; the second one speaks the whole text."""
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
    broken = FleetTTS(MODEL, voice="alloy")
    adapter = FallbackAdapter([broken, voice], max_retry_per_tts=0)
    changes: list[tts.AvailabilityChangedEvent] = []
    adapter.on("tts_availability_changed", changes.append)
    for heard in [await written(adapter, DELTAS), await whole(adapter, " ".join(SENTENCES))]:
        assert heard.error is None
        assert voiced(heard.pcm) == voiced(spoken(*SENTENCES))
    assert [change.available for change in changes][:1] == [False]
    await adapter.aclose()


async def test_the_fleet_gives_way_where_it_fails_before_the_first_audio(
    voice: FleetTTS, client: AsyncClient, provider: OpenAIServer
) -> None:
    refused = FleetTTS(MODEL, voice="alloy", client=client, cache=False)
    adapter = FallbackAdapter([refused, voice], max_retry_per_tts=0)
    provider.script(Fault("status", 401, "invalid_api_key"))
    heard = await written(adapter, ["Said by the second one, ", "from the beginning."])
    assert heard.error is None
    assert heard.pcm == spoken("Said by the second one, from the beginning.")
    await adapter.aclose()


async def test_a_stream_adapter_takes_it_too(voice: FleetTTS) -> None:
    adapter = StreamAdapter(tts=voice)
    heard = await written(adapter, DELTAS)
    assert heard.error is None
    assert voiced(heard.pcm) == voiced(spoken(*SENTENCES))
    await adapter.aclose()


# --- in an agent ----------------------------------------------------------------------------


async def test_an_agent_speaks_and_remembers(voice: FleetTTS) -> None:
    async with talking(voice, DELTAS) as scene:
        assert await scene.answer() == spoken(*SENTENCES)
        assert [text.strip() for text in scene.history] == [" ".join(SENTENCES)]
        assert scene.errors == []


@pytest.mark.parametrize("model", [MODEL, "espeak/espeak-ng"])
async def test_the_history_has_the_words_that_were_heard(client: AsyncClient, model: str) -> None:
    """Barge-in: of a provider that tells the words' times, and of one that does not."""
    voice = FleetTTS(model, client=client)
    numbers = " ".join(["One two three four five six seven eight nine ten eleven twelve."] * 40)
    async with talking(voice, [f"{word} " for word in numbers.split()], aligned=True) as scene:
        async with asyncio.timeout(240):
            while not scene.history:  # LiveKit keeps no words of an answer that still comes
                scene.ear.has_all.clear()
                handle = scene.session.generate_reply(user_input="Count!")
                await scene.ear.has_all.wait()
                await scene.eye.reads()
                await scene.session.interrupt()
                await handle
        [text] = scene.history
    heard = text.split()
    assert 0 < len(heard) < 480
    assert heard == numbers.split()[: len(heard)]


async def test_barge_in_closes_the_call_at_the_provider(client: AsyncClient, stage: Stage) -> None:
    voice = FleetTTS("slow/paced", client=client, options={"chunks": 500}, cache=False)
    said = "A long answer that nobody wants to hear to its end."
    async with talking(voice, [said]) as scene:
        handle = scene.session.generate_reply(user_input="Hello?")
        async with asyncio.timeout(120):
            await scene.ear.speaking.wait()
            await scene.session.interrupt()
            await handle
    await stage.ledger.wait(lambda: stage.ledger.calls("closed")[said])
