"""Who speaks a text where no model is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from speechfleet.errors import MissingExtra, RequestRejected, UnknownModel, UnknownVoice
from speechfleet.request import Lane, Request
from speechfleet.settings import DEFAULT_MODEL, Settings
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers import local, registry
from speechfleet_worker.providers.hibari import library as hibari
from speechfleet_worker.providers.local import LocalTTSModel, choose
from speechfleet_worker.request_language import language_of_job
from speechfleet_worker.synthesis.model_cache import ModelCache

ENGLISH, GERMAN = "Hello from the fleet.", "Guten Tag, wie geht es Ihnen?"


@pytest.fixture
def no_hibari(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hibari, "is_installed", lambda: False)
    local._has_hibari.cache_clear()
    yield
    local._has_hibari.cache_clear()


async def media_type(text: str, voice: str = "") -> str:
    response = await LocalTTSModel(stream=False, voice=voice).synthesize(Msg("assistant", text))
    assert isinstance(response, TTSResponse)
    assert response.content
    return response.media_type


@pytest.mark.parametrize(
    ("text", "language", "speaker"),
    [
        pytest.param(ENGLISH, "", "hibari/heart", id="English"),
        pytest.param(GERMAN, "", "espeak/espeak-ng (de)", id="German"),
        pytest.param("Привет, мир.", "", "espeak/espeak-ng (ru)", id="Russian"),
        pytest.param("你好,世界。", "", "espeak/espeak-ng (zh)", id="Chinese"),
        pytest.param("42", "", "hibari/heart", id="nothing shows it"),
        pytest.param("Ja.", "de", "espeak/espeak-ng (de)", id="language of the job"),
        pytest.param("Ja.", "en-GB", "hibari/heart", id="English of a region"),
        pytest.param(GERMAN, "en", "hibari/heart", id="job goes first"),
        pytest.param("你好。", "en", "espeak/espeak-ng (zh)", id="Chinese in an English job"),
        pytest.param("Привет.", "de", "espeak/espeak-ng (ru)", id="Russian in a German job"),
        pytest.param("Hello there.", "zh", "hibari/heart", id="English in a Chinese job"),
        pytest.param("42", "zh", "espeak/espeak-ng (zh)", id="figures in a Chinese job"),
        pytest.param("Habari.", "sw", "espeak/espeak-ng (sw)", id="a language without a list"),
        pytest.param("Привіт.", "uk", "espeak/espeak-ng (uk)", id="a script of several languages"),
    ],
)
def test_the_voice_that_knows_the_language_speaks(text: str, language: str, speaker: str) -> None:
    assert str(choose(text, language=language)) == speaker


@pytest.mark.usefixtures("no_hibari")
def test_without_hibari_espeak_speaks_all() -> None:
    assert str(choose(ENGLISH)) == "espeak/espeak-ng (en)"
    assert str(choose(GERMAN)) == "espeak/espeak-ng (de)"
    with pytest.raises(MissingExtra, match="local"):
        LocalTTSModel(voice="heart")


async def test_a_named_voice_speaks_everything() -> None:
    assert await media_type(GERMAN, voice="heart") == "audio/pcm;rate=24000"
    assert await media_type(ENGLISH, voice="de") == "audio/pcm;rate=22050"


async def test_each_language_is_heard() -> None:
    assert await media_type(ENGLISH) == "audio/pcm;rate=24000"
    assert await media_type(GERMAN) == "audio/pcm;rate=22050"


async def test_voices_share_a_text_sentence_by_sentence() -> None:
    text = "Hello there. Привет, мир. And then he left."
    response = await LocalTTSModel(stream=False).synthesize(Msg("assistant", text))
    assert isinstance(response, TTSResponse)
    assert response.media_type == "audio/pcm;rate=24000"
    assert response.metadata is not None
    words = response.metadata["words"]
    spoken = [text[word.text_start : word.text_end].strip(",. ") for word in words]
    assert spoken == ["Hello", "there", "Привет", "мир", "And", "then", "he", "left"]
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] < len(response.audio_from(0)) / 2 / 24_000


async def test_a_language_that_nobody_speaks_is_named() -> None:
    with pytest.raises(RequestRejected, match="'ja'") as raised:
        await media_type("こんにちは。")
    assert raised.value.code == "language_not_spoken"
    assert not raised.value.retryable


async def test_names_are_checked_before_anything_is_spoken() -> None:
    with pytest.raises(UnknownModel, match="local/auto"):
        await registry.check("local/other", settings=Settings())
    with pytest.raises(UnknownVoice, match="en-us"):
        await registry.check(DEFAULT_MODEL, voice="en-usa", settings=Settings())
    with pytest.raises(UnknownVoice, match="en-us"):
        await media_type(ENGLISH, voice="en-usa")
    await registry.check(DEFAULT_MODEL, voice="heart", settings=Settings())
    assert {"heart", "de", "cmn"} <= set(await registry.voices(DEFAULT_MODEL, Settings()))


# --- the language of a job, and what is hashed by it


@pytest.mark.parametrize(
    ("request_", "tag"),
    [
        pytest.param(Request(GERMAN, DEFAULT_MODEL), "de", id="by its text"),
        pytest.param(Request(GERMAN, DEFAULT_MODEL, language="English"), "en", id="as told"),
        pytest.param(Request("", DEFAULT_MODEL, lane=Lane.SESSION), "", id="of a session"),
        pytest.param(
            Request("", DEFAULT_MODEL, lane=Lane.SESSION, language="de"), "de", id="session, told"
        ),
    ],
)
def test_the_language_of_a_job(request_: Request, tag: str) -> None:
    assert language_of_job(request_) == tag


def test_a_short_sentence_has_the_language_of_its_job() -> None:
    voice = ModelCache(Settings()).voice(Request(f"{GERMAN} Hier.", DEFAULT_MODEL))
    assert voice.spoken_by("Hier.") == ("espeak/espeak-ng (de)",)
    assert voice.rendering("Hier.") == "espeak/espeak-ng (de)"


def test_a_session_is_not_bound_to_the_language_it_began_with() -> None:
    models = ModelCache(Settings())
    voice = models.voice(Request(GERMAN, DEFAULT_MODEL, lane=Lane.SESSION))
    assert voice.spoken_by(ENGLISH) == ("hibari/heart",)
    assert voice.spoken_by(GERMAN) == ("espeak/espeak-ng (de)",)


def test_the_rendering_follows_the_choice() -> None:
    def rendering(text: str) -> str:
        return registry.rendering(DEFAULT_MODEL, text, voice="", language="", settings=Settings())

    assert rendering(ENGLISH) == "hibari-tts 0.2.1 seed 0"
    assert rendering(GERMAN) == "espeak/espeak-ng (de)"
    mixed = rendering(f"{ENGLISH} Привет. {ENGLISH}")
    assert mixed == "hibari-tts 0.2.1 seed 0, espeak/espeak-ng (ru)"
