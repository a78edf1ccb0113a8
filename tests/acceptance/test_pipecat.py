"""Pipecat speaks through the fleet: frames in the order of its own tests, words, errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from pipecat.frames.frames import (
    AggregatedTextFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData, TTSUsageMetricsData
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyFailover
from pipecat.pipeline.worker import PipelineParams
from pipecat.utils.errors import ErrorCategory

from speechfleet import AsyncClient
from speechfleet.integrations.pipecat import FleetTTSService, FleetTTSSettings
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault
from tests.support.pipecat_bot import calling
from tests.support.pipecat_frames import Step, run
from tests.support.stage import Stage, staged
from tests.support.three_sentences import DELTAS, MILLISECONDS, MODEL, SENTENCES, spoken

PIECE_BYTES = 1920
"""40 ms at 24 kHz: Pipecat drops what is shorter when speech pauses."""


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAIServer]:
    with OpenAIServer(milliseconds=MILLISECONDS).thread() as server:
        yield server


@pytest.fixture(scope="module")
def stage(module_folder: Path, provider: OpenAIServer) -> Iterator[Stage]:
    with staged(module_folder, provider.environment(), lanes=["session"]) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


@pytest.fixture
def service(client: AsyncClient) -> FleetTTSService:
    return FleetTTSService(model=MODEL, voice="alloy", client=client)


def turn(*deltas: str) -> list[Frame]:
    texts = [LLMTextFrame(delta) for delta in deltas]
    return [LLMFullResponseStartFrame(), *texts, LLMFullResponseEndFrame()]


def audio(frames: Sequence[Frame], context_id: str | None = None) -> bytes:
    return b"".join(
        frame.audio
        for frame in frames
        if isinstance(frame, TTSAudioRawFrame) and context_id in (None, frame.context_id)
    )


def contexts(frames: Sequence[Frame]) -> list[str]:
    """The contexts in the order in which they began."""
    return [str(frame.context_id) for frame in frames if isinstance(frame, TTSStartedFrame)]


def check_order(frames: Sequence[Frame]) -> None:
    """Contexts follow each other, each from its start to its stop; words stay within."""
    current: str | None = None
    ended: set[str] = set()
    for frame in frames:
        match frame:
            case TTSStartedFrame():
                assert current is None
                assert frame.context_id not in ended
                current = frame.context_id
            case TTSStoppedFrame():
                assert frame.context_id == current
                ended.add(str(current))
                current = None
            case TTSAudioRawFrame() | TTSTextFrame():
                assert frame.context_id == current
            case LLMFullResponseStartFrame() | LLMFullResponseEndFrame():
                assert current is None
    assert current is None


# --- order ----------------------------------------------------------------------------------


async def test_a_turn_is_one_context_from_start_to_stop(service: FleetTTSService) -> None:
    down, up = await run(service, turn(*DELTAS))
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]
    check_order(down)
    assert len(contexts(down)) == 1
    assert audio(down) == spoken(*SENTENCES)
    assert isinstance(down[0], LLMFullResponseStartFrame)
    assert isinstance(down[-1], LLMFullResponseEndFrame)
    rates = {frame.sample_rate for frame in down if isinstance(frame, TTSAudioRawFrame)}
    assert rates == {24_000}


async def test_audio_comes_in_the_pieces_that_pipecat_plays(service: FleetTTSService) -> None:
    text = "The audio of this sentence ends in mid-piece."
    down, _ = await run(service, turn(text))
    sizes = [len(frame.audio) for frame in down if isinstance(frame, TTSAudioRawFrame)]
    assert sum(sizes) % PIECE_BYTES, "the last piece is not whole"
    assert [size % PIECE_BYTES for size in sizes[:-1]] == [0] * (len(sizes) - 1)
    assert audio(down) == spoken(text)


async def test_markdown_is_not_read_aloud(service: FleetTTSService) -> None:
    deltas = ["It is **very", "** good. ", "See [the ", "docs](https://a.b/c), please."]
    down, _ = await run(service, turn(*deltas))
    assert audio(down) == spoken("It is very good.", "See the docs, please.")


async def test_a_second_turn_does_not_overtake_the_first(service: FleetTTSService) -> None:
    down, _ = await run(service, [*turn(SENTENCES[0]), *turn(SENTENCES[1]), *turn(SENTENCES[2])])
    check_order(down)
    assert [audio(down, id) for id in contexts(down)] == [spoken(each) for each in SENTENCES]


async def test_a_spoken_line_is_a_context_of_its_own(service: FleetTTSService) -> None:
    """Before a turn, and in the midst of one."""
    start, *texts, end = turn("It is sunny. ", "And it is warm.")
    down, _ = await run(
        service,
        [TTSSpeakFrame("Let me look."), start, *texts, TTSSpeakFrame("Well?"), end],
    )
    check_order(down)
    assert [audio(down, id) for id in contexts(down)] == [
        spoken("Let me look."),
        spoken("It is sunny.", "And it is warm."),
        spoken("Well?"),
    ]


async def test_a_turn_without_text_opens_nothing(
    service: FleetTTSService, client: AsyncClient
) -> None:
    before = len(await client.jobs())
    down, up = await run(service, [*turn(), *turn("  ", "\n")])
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]
    assert contexts(down) == []
    assert len(await client.jobs()) == before


async def test_a_turn_without_a_word_is_no_error(service: FleetTTSService) -> None:
    """Pipecat would write a service off after three contexts without audio."""
    down, up = await run(service, [*turn("..."), *turn("—"), *turn("?!")])
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]
    check_order(down)
    assert service.is_usable


async def test_a_pause_of_the_language_model_loses_nothing(service: FleetTTSService) -> None:
    """Longer than the three seconds after which Pipecat's default ends a context."""
    start, first, second, end = turn(f"{SENTENCES[0]} ", SENTENCES[1])
    frames: list[Step] = [start, first, 3.5, second, end]
    down, _ = await run(service, frames)
    check_order(down)
    assert audio(down) == spoken(*SENTENCES[:2])
    assert len(contexts(down)) == 1


async def test_an_interruption_is_followed_by_a_clean_turn(service: FleetTTSService) -> None:
    start, *texts, _ = turn("This is cut off before it ", "ends, so nobody")
    frames: list[Step] = [start, *texts, 0.1, InterruptionFrame(), *turn(SENTENCES[2])]
    down, up = await run(service, frames)
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]
    cut = next(n for n, frame in enumerate(down) if isinstance(frame, InterruptionFrame))
    check_order(down[cut + 1 :])
    assert audio(down[cut + 1 :]) == spoken(SENTENCES[2])


async def test_an_interruption_before_any_text_is_no_deadlock(service: FleetTTSService) -> None:
    frames: list[Step] = [LLMFullResponseStartFrame(), 0.05, InterruptionFrame()]
    down, _ = await run(service, [*frames, *turn(SENTENCES[0])])
    assert audio(down) == spoken(SENTENCES[0])


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [MODEL, "espeak/espeak-ng"])
async def test_words_follow_the_audio_in_time_and_give_the_text(
    client: AsyncClient, model: str
) -> None:
    service = FleetTTSService(model=model, client=client)
    down, _ = await run(service, turn(*DELTAS))
    words = [frame for frame in down if isinstance(frame, TTSTextFrame)]
    assert [word.text for word in words] == " ".join(SENTENCES).split()
    times = [word.pts or 0 for word in words]
    assert times == sorted(times)
    length = len(audio(down)) / 2 / 24_000
    span = (times[-1] - times[0]) / 1e9
    assert 0.6 * length < span < length
    assert [frame.text for frame in down if isinstance(frame, AggregatedTextFrame)]


@pytest.mark.parametrize("model", [MODEL, "espeak/espeak-ng"])
async def test_the_context_has_the_words_that_were_heard(client: AsyncClient, model: str) -> None:
    numbers = " ".join(["One two three four five six seven eight nine ten eleven twelve."] * 40)
    service = FleetTTSService(model=model, client=client)
    async with calling(service) as call:
        await call.reply([f"{word} " for word in numbers.split()])
        await call.phone.until(0.6)
        await call.interrupt()
        [text] = call.history
    heard = text.split()
    assert 0 < len(heard) < 480
    assert heard == numbers.split()[: len(heard)]


async def test_a_bot_speaks_and_remembers(service: FleetTTSService) -> None:
    async with calling(service) as call:
        await call.reply(DELTAS)
        await call.spoken()
        assert bytes(call.phone.playback.pcm).startswith(spoken(*SENTENCES))
        assert [text.split() for text in call.history] == [" ".join(SENTENCES).split()]
        assert call.errors == []


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "category", "usable"),
    [
        (Fault("status", 401, "invalid_api_key"), ErrorCategory.AUTHENTICATION, False),
        (Fault("status", 400, "invalid_parameter"), ErrorCategory.APPLICATION, True),
    ],
    ids=["key", "text"],
)
async def test_an_error_comes_with_its_category(
    client: AsyncClient,
    provider: OpenAIServer,
    fault: Fault,
    category: ErrorCategory,
    usable: bool,
) -> None:
    service = FleetTTSService(model=MODEL, voice="alloy", client=client, cache=False)
    provider.script(fault)
    down, up = await run(service, turn("This is refused."))
    errors = [frame for frame in up if isinstance(frame, ErrorFrame)]
    assert errors[0].category is category
    assert "scripted fault" in errors[0].error
    assert service.is_usable is usable
    check_order(down)
    assert isinstance(down[-1], LLMFullResponseEndFrame)


async def test_a_late_first_audio_is_an_error_of_the_connection(client: AsyncClient) -> None:
    service = FleetTTSService(
        model="slow/paced", client=client, options={"pace": 1000.0}, first_audio_timeout=0.5
    )
    _, up = await run(service, turn("Nobody says this."))
    errors = [frame for frame in up if isinstance(frame, ErrorFrame)]
    assert errors[0].category is ErrorCategory.CONNECTIVITY
    assert service.is_usable


async def test_a_fleet_that_is_down_is_told_and_nothing_hangs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
    service = FleetTTSService(model=MODEL)
    down, up = await run(service, turn("Nobody hears this."))
    errors = [frame for frame in up if isinstance(frame, ErrorFrame)]
    assert {error.category for error in errors} >= {ErrorCategory.CONNECTIVITY}
    assert isinstance(down[-1], LLMFullResponseEndFrame)


async def test_a_switcher_goes_on_with_the_next_service(
    client: AsyncClient, provider: OpenAIServer
) -> None:
    """The first one's key is refused: from the next turn on the second one speaks."""
    first = FleetTTSService(model=MODEL, voice="alloy", client=client, cache=False)
    second = FleetTTSService(model=MODEL, voice="nova", client=client, cache=False)
    provider.script(Fault("status", 401, "invalid_api_key"))
    switcher = ServiceSwitcher([first, second], ServiceSwitcherStrategyFailover)
    switched = asyncio.Event()

    async def on_switched(*_: object) -> None:
        switched.set()

    switcher.strategy.add_event_handler("on_service_switched", on_switched)
    steps: list[Step] = [
        *turn("This is refused."),
        lambda _: switched.wait(),
        *turn(SENTENCES[0]),
    ]
    down, _ = await run(switcher, steps)
    assert (first.is_usable, second.is_usable) == (False, True)
    assert audio(down) == spoken(SENTENCES[0])
    assert provider.calls[-1].request["voice"] == "nova"


# --- settings and metrics -------------------------------------------------------------------


async def test_settings_change_from_one_turn_to_the_next(
    service: FleetTTSService, provider: OpenAIServer
) -> None:
    delta = FleetTTSSettings(voice="nova", extra={"instructions": "Whisper."})
    await run(
        service,
        [
            *turn("Said as before."), lambda passed: passed.until(TTSStoppedFrame),
            TTSUpdateSettingsFrame(delta=delta), *turn("Said in another mood."),
        ],
    )  # fmt: skip
    before, after = provider.calls[-2:]
    assert (before.request["voice"], after.request["voice"]) == ("alloy", "nova")
    assert after.request["instructions"] == "Whisper."


async def test_pipecat_measures_us_as_it_measures_others(service: FleetTTSService) -> None:
    down, _ = await run(
        service,
        turn(*DELTAS),
        PipelineParams(enable_metrics=True, enable_usage_metrics=True),
    )
    data = [each for frame in down if isinstance(frame, MetricsFrame) for each in frame.data]
    [characters] = [each.value for each in data if isinstance(each, TTSUsageMetricsData)]
    assert characters == len("".join(DELTAS))
    assert [each for each in data if isinstance(each, TTFBMetricsData) and each.value > 0]


async def test_barge_in_closes_the_call_at_the_provider(client: AsyncClient, stage: Stage) -> None:
    said = "A long answer that nobody wants to hear to its end."
    service = FleetTTSService(
        model="slow/paced", client=client, options={"chunks": 500}, cache=False
    )
    async with calling(service) as call:
        await call.reply([said])
        async with asyncio.timeout(120):
            await call.witness.started.wait()
        await call.interrupt()
        await stage.ledger.wait(lambda: stage.ledger.calls("closed")[said])


async def test_chinese_is_remembered_without_spaces(client: AsyncClient) -> None:
    text = "你好，世界。今天天气很好。"
    service = FleetTTSService(model=MODEL, voice="alloy", client=client)
    async with calling(service) as call:
        await call.reply(list(text))
        await call.spoken()
        assert [each.replace(" ", "") for each in call.history] == [text]
        assert call.history[0].count(" ") <= 1, "between the sentences at most"
