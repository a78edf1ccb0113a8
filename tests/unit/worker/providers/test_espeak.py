"""espeak-ng's adapter: one library, many calls, none in the way of another."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest
from pydantic import ValidationError

from speechfleet import espeak_library as library
from speechfleet.demo.corpus import articles
from speechfleet.errors import MissingExtra, UnknownModel, UnknownVoice
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers.espeak import model
from speechfleet_worker.providers.espeak.model import EspeakOptions, EspeakTTSModel

LONG = "This is a sentence of a few words. " * 150
"""Six turns of the library."""
PATIENT = Timeouts(first_audio=240.0, silence=240.0)
"""Of calls that wait for many others, on a machine that does more than that."""


async def spoken(text: str, voice: str = "", **options: int) -> TTSResponse:
    model = EspeakTTSModel(
        voice=voice, stream=False, options=EspeakOptions(**options), timeouts=PATIENT
    )
    response = await model.synthesize(Msg("assistant", text))
    assert isinstance(response, TTSResponse)
    assert response.media_type == "audio/pcm;rate=22050"
    return response


async def started(text: str) -> AsyncGenerator[TTSResponse, None]:
    responses = await EspeakTTSModel().synthesize(Msg("assistant", text))
    assert isinstance(responses, AsyncGenerator)
    return responses


async def seconds(text: str, voice: str = "", **options: int) -> float:
    return len((await spoken(text, voice, **options)).audio_from(0)) / 2 / 22_050


# --- voices


@pytest.mark.parametrize(
    ("tag", "voice"),
    [
        ("en", "en-us"),
        ("EN_us", "en-us"),
        ("en-uk", "en-gb"),
        ("en-gb", "en-gb"),
        ("zh", "cmn"),
        ("zh-CN", "cmn"),
        ("zh-HK", "yue"),
        ("fr-fr", "fr"),
        ("fr-be", "fr-be"),
        ("es-MX", "es-419"),
        ("es-es", "es"),
        ("pt-br", "pt-br"),
        ("pt-pt", "pt"),
        ("de-AT", "de"),
        ("no", "nb"),
        ("en-us+f3", "en-us+f3"),
        ("de+Mr serious", "de+Mr serious"),
    ],
)
def test_the_tags_that_people_write(tag: str, voice: str) -> None:
    def files() -> tuple[bytes, bytes]:
        espeak = library.library()
        return espeak._file(tag), espeak._file(voice)

    asked, expected = library.run(files).result()
    assert asked == expected


@pytest.mark.parametrize(
    ("voice", "near"),
    [
        ("en-usa", "en-us"),
        ("en-xx", "en-gb"),
        ("en-us+f33", r"en-us\+f3"),
        ("en-us+../../../../lang/gmw/en-US", r"en-us\+"),
        ("ja", "did you mean"),
        ("ja-JP", "there are"),
        ("nothing", "did you mean"),
    ],
)
async def test_an_unknown_voice_is_refused_with_near_ones(voice: str, near: str) -> None:
    with pytest.raises(UnknownVoice, match=near):
        await spoken("Hello.", voice)


async def test_the_list_of_voices_names_each_once_and_each_can_speak() -> None:
    voices = EspeakTTSModel.voices()
    ids = [voice.id for voice in voices]
    assert len(ids) == len(set(ids)) > 130
    assert ("en-us", "en-us", "English (America)") in voices
    assert {"de", "fr", "cmn", "hi", "ar", "es"} < set(ids)
    assert not any(id.startswith("ja") for id in ids)
    assert await EspeakTTSModel().list_voices() == sorted(ids)
    for id in ids:
        assert await seconds("1 2 3, salam, салам", id) > 0.3, id


def test_the_language_is_that_of_the_voice() -> None:
    assert EspeakTTSModel(voice="de+f2").language == "de"
    assert EspeakTTSModel().language == "en-us"


# --- what it says


async def test_the_options_are_heard() -> None:
    text = "One two three four five six seven eight nine ten."
    plain = await seconds(text)
    assert await seconds(text, rate=350) < 0.7 * plain < plain < await seconds(text, gap=30)
    loud = await spoken(text, volume=150)
    quiet = await spoken(text, volume=20)
    assert peak(quiet) < peak(loud) / 2
    # No call inherits the options of the one before it.
    assert await seconds(text) == pytest.approx(plain, rel=0.05)


def peak(response: TTSResponse) -> int:
    return max(memoryview(bytes(response.audio_from(0))).cast("h"))


@pytest.mark.parametrize(
    ("options", "rate"),
    [({"speed": 2}, 350), ({"speed": 0.25}, 80), ({"rate": 400, "speed": 4}, 450), ({}, 175)],
    ids=["faster", "slowest", "fastest", "as-it-is"],
)
def test_speed_is_a_factor_of_the_rate(options: dict[str, float], rate: int) -> None:
    assert EspeakOptions.model_validate(options).parameters()["rate"] == rate


@pytest.mark.parametrize(
    "options", [{"rate": 79}, {"pitch": 100}, {"volume": -1}, {"speed": 5}, {"pace": 1}]
)
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        EspeakOptions(**options)


async def test_words_come_with_their_place_and_time() -> None:
    text = "Hello 👍 wörld, again."
    response = await spoken(text)
    words = response["metadata"]["words"]
    found = [text[word.text_start : word.text_end] for word in words]
    assert [word for word in found if word.isalpha()] == ["Hello", "wörld", "again"]
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 == times[0] < times[-1] <= len(response.audio_from(0)) / 44_100
    assert response.usage
    assert response.usage.characters == len(text)


async def test_a_long_text_is_spoken_whole() -> None:
    response = await spoken(LONG)
    words = response["metadata"]["words"]
    found = [LONG[word.text_start : word.text_end] for word in words]
    # The library speaks "of a" as one word.
    assert [word for word in found if word != "a"] == 150 * "This is sentence of few words".split()
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= len(response.audio_from(0)) / 44_100


async def test_every_language_of_the_demo() -> None:
    for article in articles():
        if article.id.endswith("-01"):
            assert await seconds(article.text, article.language) > 5, article.id


@pytest.mark.parametrize("text", ["...", "🙂", "\x01300P Hello", "a\x00b", "<b>", "[[h@l]]"])
async def test_odd_texts_have_audio(text: str) -> None:
    assert await seconds(text) > 0


async def test_control_characters_command_nothing() -> None:
    fast, plain = await seconds("\x01400S One two three."), await seconds("400S One two three.")
    assert fast == pytest.approx(plain, rel=0.05)


# --- many calls


async def test_many_calls_at_once_give_each_its_own_audio() -> None:
    texts = [f"This is number {number}. " * (1 + number % 7) for number in range(50)]
    voices = ["en-us", "de", "fr", "cmn", "en-gb"] * 10
    alone = [await seconds(text, voice) for text, voice in zip(texts, voices, strict=True)]
    together = await asyncio.gather(*map(seconds, texts, voices))
    assert together == pytest.approx(alone, rel=0.05)


async def test_a_short_text_does_not_wait_for_a_long_one() -> None:
    ended: list[str] = []

    async def speak(name: str, text: str) -> None:
        await spoken(text)
        ended.append(name)

    await asyncio.gather(speak("long", LONG), speak("short", "Hello."), speak("other", "Hi."))
    assert ended == ["short", "other", "long"]


async def test_a_listener_that_does_not_listen_silences_nobody() -> None:
    async with aclosing(await started(LONG)) as slow:
        await anext(slow)
        assert await seconds("Hello.") > 0.3
        await anext(slow)


class Gate:
    """Holds the library in the first stretch of a call until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self._open = threading.Event()
        take = model._Bridge.take

        def gated(bridge: model._Bridge, audio: bytes, words: library.Words) -> bool:
            self.taken += 1
            more = take(bridge, audio, words)
            if self.taken == 1:
                assert self._open.wait(60)
            return more

        monkeypatch.setattr(model._Bridge, "take", gated)

    def open(self) -> None:
        """And wait until the library has come to rest."""
        self._open.set()
        library.run(lambda: None).result(60)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


async def test_closing_ends_the_synthesis_at_once(gate: Gate) -> None:
    responses = await started(LONG)
    first = await anext(responses)
    assert first.content
    await responses.aclose()
    gate.open()
    assert gate.taken == 2, "the second stretch is refused, and there is no third"


async def test_a_call_that_waits_in_line_can_be_cancelled(gate: Gate) -> None:
    async with aclosing(await started("Hello.")) as responses:
        await anext(responses)
        waiting = asyncio.ensure_future(spoken(LONG))
        await asyncio.sleep(0)  # lets it get in line
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    gate.open()
    assert gate.taken == 2, "of the first call; the other never began"


async def test_the_loop_goes_on_while_the_library_speaks(gate: Gate) -> None:
    async with aclosing(await started(LONG)) as responses:
        await anext(responses)
        # The library is held in the middle of a call now, and this still runs.
        assert gate.taken == 1


def test_a_loop_that_is_gone_takes_no_more() -> None:
    async def bridge() -> model._Bridge:
        return model._Bridge()

    assert asyncio.run(bridge()).take(b"\0\0", ()) is False


# --- processes


def python(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SPEAK + script],
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
    )
    return done.stdout.strip()


_SPEAK = """
import asyncio, os, pathlib, sys, tempfile
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg
from speechfleet import espeak_library
from speechfleet_worker.providers.espeak.model import EspeakTTSModel

def seconds():
    model = EspeakTTSModel(stream=False, timeouts=Timeouts(first_audio=240.0))
    response = asyncio.run(model.synthesize(Msg("assistant", "Hello from a process.")))
    return len(response.audio_from(0)) / 44100
"""


def test_a_forked_worker_can_speak_after_its_parent_spoke() -> None:
    lines = python("""
print(seconds(), flush=True)
if pid := os.fork():
    assert os.waitpid(pid, 0)[1] == 0
    print(seconds())
else:
    print(seconds(), flush=True)
    os._exit(0)
""")
    durations = [float(line) for line in lines.split()]
    assert durations == pytest.approx([durations[0]] * 3, rel=0.05)
    assert durations[0] > 1


def test_importing_and_building_load_no_library() -> None:
    assert (
        python("""
EspeakTTSModel()
print("espeakng_loader" in sys.modules)
""")
        == "False"
    )


def test_the_library_may_be_installed_in_a_deep_folder() -> None:
    assert (
        python("""
import espeakng_loader
with tempfile.TemporaryDirectory() as folder:
    deep = pathlib.Path(folder, "x" * 200, "espeak-ng-data")
    deep.parent.mkdir()
    deep.symlink_to(espeakng_loader.get_data_path())
    espeakng_loader.get_data_path = lambda: str(deep)
    print(seconds() > 1)
""")
        == "True"
    )


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtra, match=r"speechfleet\[local\]"):
        EspeakTTSModel()


def test_another_model_is_unknown() -> None:
    with pytest.raises(UnknownModel, match="espeak-ng"):
        EspeakTTSModel("espeak")
