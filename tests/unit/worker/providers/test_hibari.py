"""hibari's adapter: a sentence at a time, the same audio each time, and words where they lie."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path

import pytest
from hibari.voices import VOICES, voice_path

from speechfleet.errors import (
    MisconfiguredError,
    MissingExtra,
    RequestRejected,
    UnknownModel,
    UnknownVoice,
)
from speechfleet.settings import Settings, Timeouts
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.providers.hibari import library
from speechfleet_worker.providers.hibari.model import HibariOptions, HibariTTSModel

PATIENT = Timeouts(first_audio=240.0, silence=240.0)
"""Of calls that wait for others, on a machine that does more than that."""
PROJECT = Path(__file__).parents[4] / "pyproject.toml"


async def spoken(text: str, **options: float) -> TTSResponse:
    model = HibariTTSModel(stream=False, options=HibariOptions(**options), timeouts=PATIENT)
    response = await model.synthesize(Msg("assistant", text))
    assert isinstance(response, TTSResponse)
    assert response.media_type == "audio/pcm;rate=24000"
    return response


async def seconds(text: str, **options: float) -> float:
    return len((await spoken(text, **options)).audio_from(0)) / 2 / library.SAMPLE_RATE


async def words(text: str) -> list[tuple[str, SpokenWord]]:
    metadata = (await spoken(text)).metadata
    assert metadata is not None
    return [(text[word.text_start : word.text_end], word) for word in metadata["words"]]


def file_of_heart() -> Path:
    return Path(voice_path(library.VOICE, download_missing=False))


# --- the audio


async def test_the_same_text_is_the_same_audio_wherever_it_stands() -> None:
    alone = bytes((await spoken("Each sentence is stored.")).audio_from(0))
    again = bytes((await spoken("Each sentence is stored.")).audio_from(0))
    second = bytes((await spoken("Hello. Each sentence is stored.")).audio_from(0))
    assert alone == again
    assert second.endswith(alone)


async def test_a_text_is_spoken_a_sentence_at_a_time() -> None:
    answer = await HibariTTSModel().synthesize(Msg("assistant", "One. Two of them. Three."))
    assert isinstance(answer, AsyncGenerator)
    sizes = [len(bytes(response.audio_from(0))) async for response in answer]
    assert len(set(sizes)) == 3


@pytest.mark.parametrize(("speed", "least", "most"), [(0.5, 1.6, 2.4), (2.0, 0.4, 0.65)])
async def test_speed_is_a_factor_of_the_pace(speed: float, least: float, most: float) -> None:
    text = "This is a sentence of a few words, and it takes some seconds."
    assert least < await seconds(text, speed=speed) / await seconds(text) < most


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("Привет, мир.", "language_not_spoken", id="Cyrillic"),
        pytest.param("你好。", "language_not_spoken", id="Han"),
        pytest.param("This is English. 这不是英语。", "language_not_spoken", id="second sentence"),
        pytest.param("£", "nothing_heard", id="a lone sign"),
    ],
)
async def test_what_it_cannot_say_is_an_error_for_good(text: str, code: str) -> None:
    with pytest.raises(RequestRejected) as raised:
        await spoken(text)
    assert raised.value.code == code
    assert not raised.value.retryable


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a" * 990, id="one endless word"),
        pytest.param("word, " * 160, id="one endless sentence"),
        pytest.param("naïve café, Zürich – “quoted” … 😀", id="signs"),
        pytest.param("tab\tand \x02 control", id="controls"),
    ],
)
async def test_odd_texts_are_spoken(text: str) -> None:
    assert await seconds(text) > 1


async def test_a_call_that_is_left_ends_after_its_sentence() -> None:
    long = await HibariTTSModel().synthesize(Msg("assistant", "A sentence of some words. " * 38))
    assert isinstance(long, AsyncGenerator)
    async with aclosing(long):
        await anext(long)
    calls: list[str] = []
    await asyncio.wrap_future(library.run(calls.append, "next"))
    assert calls == ["next"]


async def test_calls_share_one_thread_and_take_turns() -> None:
    before = threading.active_count()
    texts = [f"This is number {number}. And its second sentence." for number in range(8)]
    responses = await asyncio.gather(*map(spoken, texts))
    assert all(response.content for response in responses)
    assert threading.active_count() <= before + 1


def test_a_forked_child_loads_its_own() -> None:
    program = """
import asyncio, os, sys
from speechfleet_worker.providers.hibari.model import HibariTTSModel
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg
def size():
    model = HibariTTSModel(stream=False, timeouts=Timeouts(first_audio=240.0))
    answer = asyncio.run(model.synthesize(Msg("a", "Hello.")))
    return len(answer.audio_from(0))
mine = size()
if (child := os.fork()) == 0:
    os._exit(0 if size() == mine else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# --- words


async def test_words_lie_where_their_sound_is() -> None:
    found = await words("Hello, (my) friend. It's “late”.")
    assert [text for text, _ in found] == ["Hello", "my", "friend", "It's", "late"]
    times = [time for _, word in found for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] > 0.2  # the voice takes a breath first
    assert times[-1] < await seconds("Hello, (my) friend. It's “late”.")


async def test_what_is_rewritten_keeps_its_place() -> None:
    text = "Dr. Smith paid $29.6 million for 3 km on 3/4/2024 at 7:30 pm, didn't he?"
    found = await words(text)
    assert [text for text, _ in found] == [
        "Dr", "Smith", "paid", "29.6", "million", "for", "3", "km", "on", "3/4/2024", "at",
        "7:30", "pm", "didn't", "he",
    ]  # fmt: skip
    assert all(word.start < word.end for _, word in found)
    by_text = dict(found)
    date, short = by_text["3/4/2024"], by_text["on"]
    assert date.end - date.start > 4 * (short.end - short.start)


async def test_nearly_all_words_of_a_corpus_have_their_time() -> None:
    lines = (PROJECT.parent / "tests/data/ljspeech.csv").read_text(encoding="utf-8").splitlines()
    texts = [line.partition("|")[2] for line in lines[:20]]
    written = sum(len([w for w in text.split() if any(map(str.isalnum, w))]) for text in texts)
    timed = sum([len(await words(text)) for text in texts])
    assert timed >= 0.99 * written


# --- voices, files, and a machine without it


@pytest.mark.parametrize("voice", library.DOWNLOADED)
async def test_voices_that_would_be_downloaded_are_refused_by_name(voice: str) -> None:
    with pytest.raises(UnknownVoice, match=f"'{voice}'.*SPEECHFLEET_HIBARI_VOICES"):
        HibariTTSModel(voice=voice)
    with pytest.raises(UnknownVoice, match="SPEECHFLEET_HIBARI_VOICES"):
        await registry.check("hibari/heart", voice=voice, settings=Settings())


def test_the_refused_voices_are_those_of_the_library() -> None:
    assert {name for name, voice in VOICES.items() if not voice.get("bundled")} == {
        *library.DOWNLOADED
    }


def test_an_unknown_model_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match="hibari/heart"):
        HibariTTSModel("lark")


async def test_a_file_of_ones_own_is_a_voice_and_a_model() -> None:
    file = file_of_heart()
    settings = Settings(hibari_voices={"emma": file})
    for model, voice in (("hibari/heart", "emma"), ("hibari/emma", "")):
        await registry.check(model, voice=voice, settings=settings)
        built = registry.build(model, voice=voice, stream=False, settings=settings)
        assert isinstance(built, HibariTTSModel)
        assert await built.list_voices() == ["emma", "heart"]
        response = await built.synthesize(Msg("assistant", "Tomato."))
        assert isinstance(response, TTSResponse)
        # The same net, but the words are pronounced as the British say them.
        assert bytes(response.audio_from(0)) != bytes((await spoken("Tomato.")).audio_from(0))


@pytest.mark.parametrize("content", [None, b"no model"], ids=["missing", "of another kind"])
async def test_a_file_that_is_no_voice_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "lark.onnx"
    if content is not None:
        file.write_bytes(content)
    model = HibariTTSModel("lark", stream=False, files={"lark": file})
    with pytest.raises(MisconfiguredError, match=r"lark\.onnx.*SPEECHFLEET_HIBARI_VOICES"):
        await model.synthesize(Msg("assistant", "Hello."))


def test_the_release_and_the_file_are_part_of_the_rendering(tmp_path: Path) -> None:
    def rendering(voice: str, content: bytes = b"") -> str:
        file = tmp_path / content.decode()
        file.write_bytes(content)
        settings = Settings(hibari_voices={"emma": file})
        return registry.rendering(
            "hibari/heart", "Hello.", voice=voice, language="", settings=settings
        )

    assert rendering("", b"a") == rendering("heart", b"b") == "hibari-tts 0.2.1 seed 0"
    assert rendering("emma", b"a") != rendering("emma", b"b")


def test_the_release_is_the_one_that_is_installed() -> None:
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert version(library.PACKAGE) == library.RELEASE
    assert f"{library.PACKAGE}=={library.RELEASE}" in extras["local"]


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "is_installed", lambda: False)
    with pytest.raises(MissingExtra, match=r"speechfleet\[local\]"):
        HibariTTSModel()


def test_nothing_heavy_is_imported_before_it_speaks() -> None:
    program = (
        "import json, sys\n"
        "from speechfleet_worker.providers.hibari.model import HibariTTSModel\n"
        "HibariTTSModel()\n"
        "print(json.dumps([m for m in ('numpy', 'onnxruntime', 'hibari') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert json.loads(done.stdout) == []
