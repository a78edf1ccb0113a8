"""OpenAI's names for voices, and its fields, on models of others."""

from __future__ import annotations

from typing import Any

import pytest

from speechfleet.errors import UnknownOption
from speechfleet.gateway.offered_models import ModelInfo, OfferedModels
from speechfleet.gateway.speech_order import openai_options, resolve_model
from speechfleet.gateway.voice_aliases import HIGH, LOW, OPENAI_VOICES, SIMILAR, resolve_voice
from speechfleet.settings import DEFAULT_MODEL, Settings
from speechfleet_worker.providers import registry

ESPEAK = ModelInfo("espeak/espeak-ng", "en-us", ("de", "en-gb", "en-us"), frozenset({"speed"}))
OPENAI = ModelInfo("openai/tts-1", "alloy", ("alloy", "nova"), frozenset({"instructions"}))
ANYTHING = ModelInfo("kokoro/kokoro", "alloy")
ODD = ModelInfo("own/model", "first", ("first", "second"))


@pytest.mark.parametrize("voice", sorted(OPENAI_VOICES))
@pytest.mark.parametrize("model", [ESPEAK, ODD], ids=lambda model: model.provider)
def test_each_name_stands_for_a_voice_that_is_there(model: ModelInfo, voice: str) -> None:
    assert model.has_voice(resolve_voice(voice, model, {}))


@pytest.mark.parametrize(
    ("voice", "model", "setting", "resolved"),
    [
        ("", ESPEAK, {}, ""),
        ("de", ESPEAK, {}, "de"),
        ("en-us+f3", ESPEAK, {}, "en-us+f3"),
        ("nobody", ESPEAK, {}, "nobody"),
        ("alloy", ESPEAK, {}, "en-us"),
        ("alloy", ESPEAK, {"alloy": "de"}, "de"),
        ("alloy", ESPEAK, {"alloy": "not-there"}, "en-us"),
        ("alloy", OPENAI, {"alloy": "de"}, "alloy"),
        ("nova", OPENAI, {"openai/tts-1": {"nova": "alloy"}}, "alloy"),
        ("alloy", ESPEAK, {"alloy": "de", "espeak": {"alloy": "en-gb"}}, "en-gb"),
        ("mine", ESPEAK, {"mine": "de"}, "de"),
        ("alloy", ANYTHING, {}, "alloy"),
        ("ash", ODD, {}, "first"),
    ],
    ids=lambda value: value.provider if isinstance(value, ModelInfo) else None,
)
def test_names_of_voices(
    voice: str, model: ModelInfo, setting: dict[str, Any], resolved: str
) -> None:
    assert resolve_voice(voice, model, setting) == resolved


@pytest.mark.parametrize("model", ["dashscope/qwen3-tts-flash", "gemini/gemini-3.8-flash-tts"])
def test_similar_voices_exist(model: str) -> None:
    voices = registry.capabilities(model, Settings.load()).voices
    high, low = SIMILAR[model.partition("/")[0]]
    assert (len(high), len(low)) == (len(HIGH), len(LOW))
    assert set(high + low) <= set(voices)


def test_the_setting_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_GATEWAY_VOICES", '{"alloy": "de", "espeak": {"ash": "fr"}}')
    monkeypatch.setenv("SPEECHFLEET_GATEWAY_IGNORED", "one, two")
    settings = Settings.load()
    assert settings.gateway_voices == {"alloy": "de", "espeak": {"ash": "fr"}}
    assert settings.gateway_ignored == ("one", "two")


def options(
    model: ModelInfo,
    instructions: str = "",
    speed: float = 1.0,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    ignored = Settings.load().gateway_ignored
    return openai_options(
        extra or {}, model, instructions=instructions, speed=speed, ignored=ignored
    )


def test_instructions_are_left_out_where_a_model_has_none() -> None:
    assert options(ESPEAK, instructions="Softly.") == {}
    assert options(OPENAI, instructions="Softly.") == {"instructions": "Softly."}
    assert options(ANYTHING, instructions="Softly.") == {"instructions": "Softly."}


def test_speed_is_passed_on_to_every_model() -> None:
    assert options(ESPEAK, speed=1.5) == {"speed": 1.5}
    assert options(OPENAI, speed=1.5) == {"speed": 1.5}
    assert options(OPENAI) == {}


@pytest.mark.parametrize("field", Settings.load().gateway_ignored)
def test_fields_that_say_nothing_about_the_speech_are_ignored(field: str) -> None:
    assert options(ESPEAK, extra={field: "x"}) == {}
    own = ModelInfo("own/model", options=frozenset({field}))
    assert options(own, extra={field: "x"}) == {field: "x"}


def test_other_fields_are_options() -> None:
    assert options(ESPEAK, extra={"pitch": 3}) == {"pitch": 3}
    with pytest.raises(UnknownOption):
        options(ESPEAK, extra={"lane": "batch"})


def test_models_that_stand_for_any_are_not_listed() -> None:
    offered = OfferedModels([ESPEAK, ModelInfo("kokoro/...", "af", ("af",))])
    assert [model.name for model in offered.listed] == ["espeak/espeak-ng"]
    assert offered.open_providers == ["kokoro"]
    assert offered.get("kokoro/anything").default_voice == "af"
    assert offered.describe("espeak/unknown").options == offered.describe("espeak/x").options
    assert offered.find("nobody/x") is None


def test_bare_names() -> None:
    aliases = {"tts-1": "kokoro/kokoro"}
    assert resolve_model("tts-1", aliases) == "kokoro/kokoro"
    assert resolve_model("tts-1-hd", aliases) == "openai/tts-1-hd"
    assert resolve_model("a/b/c", aliases) == "a/b/c"
    assert resolve_model("local", aliases) == DEFAULT_MODEL
    assert resolve_model("local", {"local": "kokoro/kokoro"}) == "kokoro/kokoro"


@pytest.mark.parametrize("voice", sorted(OPENAI_VOICES))
def test_a_model_that_chooses_its_voice_by_language_still_does(voice: str) -> None:
    local = ModelInfo(DEFAULT_MODEL, "", ("de", "en-us", "heart"), frozenset({"speed"}))
    assert resolve_voice(voice, local, {}) == ""
