"""Models by name: who serves them, what is missing, and what a wrong name is told."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, ClassVar

import pytest

from speechfleet.errors import (
    AuthenticationFailed,
    InvalidRequest,
    MisconfiguredError,
    MissingExtra,
    UnknownModel,
    UnknownOption,
    UnknownVoice,
)
from speechfleet.settings import Endpoint, Settings
from speechfleet.tts import Msg, TTSModelBase, TTSResponse
from speechfleet_worker import providers
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities, ProviderModel
from speechfleet_worker.providers.built_in import BUILT_IN
from speechfleet_worker.providers.openai import OpenAITTSModel
from speechfleet_worker.testing.openai_server import OpenAIServer

KEYS = {
    "OPENAI_API_KEY": "sk-o", "GEMINI_API_KEY": "g", "DASHSCOPE_API_KEY": "d",
    "ELEVENLABS_API_KEY": "e", "AWS_ACCESS_KEY_ID": "a",
}  # fmt: skip
SETTINGS = Settings()


class Own(TTSModelBase):
    """Somebody's own class, with `synthesize` alone."""

    def __init__(self, model_name: str, stream: bool, voice: str, pitch: float = 1.0) -> None:
        super().__init__(model_name, stream)
        self.voice, self.pitch = voice, pitch

    async def synthesize(self, msg: Msg | None = None, **kwargs: Any) -> TTSResponse:
        return TTSResponse()


class Named(Own):
    capabilities: ClassVar[Capabilities] = Capabilities(input_limit=7, voices=("one", "two"))

    def __init__(self, voice: str = "two", **options: Any) -> None:
        super().__init__(options.pop("model_name"), options.pop("stream"), voice)
        self.rest = options


@pytest.fixture
def own_module() -> Iterator[Settings]:
    module = types.ModuleType("own_models")
    module.__dict__.update(Own=Own, Named=Named, NoModel=dict)
    sys.modules["own_models"] = module
    names = {"own": "Own", "named": "Named", "none": "NoModel", "gone": "Gone"}
    yield Settings(providers={name: f"own_models:{kind}" for name, kind in names.items()})
    del sys.modules["own_models"]


# --- names


def test_a_model_is_split_at_the_first_slash() -> None:
    assert registry.split("openai/gpt-4o-mini-tts") == ("openai", "gpt-4o-mini-tts")
    assert registry.split("local/org/model") == ("local", "org/model")


@pytest.mark.parametrize("model", ["gpt-4o-mini-tts", "openai/", "/x", ""])
def test_a_model_without_a_provider_is_unknown_and_told_what_a_model_is(model: str) -> None:
    with pytest.raises(UnknownModel, match="provider/model"):
        registry.split(model)


def test_near_matches_are_named() -> None:
    with pytest.raises(UnknownModel, match="did you mean openai/gpt-4o-mini-tts"):
        registry.split("gpt-4o-mini-tts")
    with pytest.raises(UnknownModel, match="openai/gpt-4o-mini-tts"):
        registry.build("opnai/gpt-4o-mini-tts", settings=SETTINGS, environ=KEYS)
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1")
    with pytest.raises(UnknownModel, match="kokoro/kokoro"):
        registry.capabilities("kokro/kokoro", Settings(endpoints={"kokoro": endpoint}))


# --- what can be served


def test_availability_says_what_to_do_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = {
        "kokoro": Endpoint(base_url="http://127.0.0.1:1/v1"),
        "paid": Endpoint(base_url="http://127.0.0.1:1/v1", key_env="PAID_KEY"),
    }
    environ = {"OPENAI_API_KEY": "sk-very-secret"}
    there = registry.available(Settings(endpoints=endpoints), environ)
    assert set(there) >= {"openai", "gemini", "dashscope", "espeak", "kokoro", "paid"}
    assert there["openai"].ready
    assert there["openai"].reason == ""
    assert there["kokoro"].ready
    assert not there["gemini"].ready
    assert there["gemini"].reason == "set GOOGLE_API_KEY or GEMINI_API_KEY"
    assert there["paid"].reason == "set PAID_KEY"
    assert "sk-very-secret" not in repr(there)


def test_a_missing_sdk_is_seen_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "importable", lambda name: False)
    assert registry.available(SETTINGS, KEYS)["openai"].reason == (
        "pip install 'speechfleet[openai]'"
    )
    with pytest.raises(MissingExtra, match=r"speechfleet\[gemini\]"):
        registry.build("gemini/gemini-3.8-flash-tts", settings=SETTINGS, environ=KEYS)


def test_no_sdk_is_imported_to_look_around() -> None:
    program = """
import sys
from speechfleet.settings import Settings
from speechfleet_worker import providers
from speechfleet_worker.providers import registry
settings = Settings()
registry.available(settings)
for name, entry in registry.BUILT_IN.items():
    for model in entry.models:
        registry.capabilities(f"{name}/{model}", settings)
providers.OpenAITTSModel, providers.GeminiTTSModel
sdks = {"openai", "google.genai", "dashscope", "httpx2", "aiohttp", "espeakng_loader"}
print(sorted(sdks & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_sdks_can_be_imported_before_a_loop_runs() -> None:
    program = """
import sys
from speechfleet.settings import Settings
from speechfleet_worker.providers import registry
registry.preload(["openai", "espeak"], Settings())
print("openai" in sys.modules, "dashscope" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_model_is_described_and_built(name: str) -> None:
    for model_name in BUILT_IN[name].models:
        model = f"{name}/{model_name}"
        declared = registry.capabilities(model, SETTINGS)
        assert declared.input_limit > 0
        built = registry.build(model, settings=SETTINGS, environ=KEYS)
        assert isinstance(built, ProviderModel)
        assert built.model_name == model_name
        assert built.voice == declared.default_voice
        assert built.supports_streaming_input == declared.streaming_input
        assert built.timeouts == SETTINGS.timeouts


def test_the_adapters_have_agentscopes_names() -> None:
    for name in providers.__all__:
        assert issubclass(getattr(providers, name), ProviderModel)
    with pytest.raises(AttributeError):
        providers.NoSuchModel  # noqa: B018


# --- what is asked for


def test_a_missing_key_names_its_variable() -> None:
    with pytest.raises(AuthenticationFailed, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        registry.build("gemini/gemini-3.8-flash-tts", settings=SETTINGS, environ={})


def test_the_first_key_that_is_set_wins() -> None:
    environ = {"GOOGLE_API_KEY": "first", "GEMINI_API_KEY": "second"}
    built = registry.build("gemini/gemini-3.8-flash-tts", settings=SETTINGS, environ=environ)
    assert built.__dict__["_key"] == "first"


def test_an_unknown_voice_is_refused_with_near_matches() -> None:
    with pytest.raises(UnknownVoice, match="did you mean alloy"):
        registry.build("openai/gpt-4o-mini-tts", voice="aloy", settings=SETTINGS, environ=KEYS)
    with pytest.raises(UnknownVoice):  # of the younger model only
        registry.build("openai/tts-1-hd", voice="verse", settings=SETTINGS, environ=KEYS)


@pytest.mark.parametrize(
    ("model", "voice"),
    [
        ("openai/gpt-4o-mini-tts-2025-12-15", "verse"),
        ("openai/gpt-4o-mini-tts", "voice_my_own"),
        ("openai/somebody-elses-model", "af_heart"),
    ],
)
def test_a_voice_is_taken_where_the_list_is_not_closed(model: str, voice: str) -> None:
    built = registry.build(model, voice=voice, settings=SETTINGS, environ=KEYS)
    assert built.__dict__["voice"] == voice


def test_options_are_checked_by_name_and_value() -> None:
    def build(**options: Any) -> TTSModelBase:
        model = "openai/gpt-4o-mini-tts"
        return registry.build(model, options=options, settings=SETTINGS, environ=KEYS)

    with pytest.raises(UnknownOption, match="'sped'; did you mean speed"):
        build(sped=1.0)
    with pytest.raises(InvalidRequest, match="'speed'"):
        build(speed=9)
    with pytest.raises(InvalidRequest, match=r"'speakers'.*Kore"):
        registry.build(
            "gemini/gemini-3.8-flash-tts",
            options={"speakers": {"Ann": "Kor"}},
            settings=SETTINGS,
            environ=KEYS,
        )
    built = build(speed=1.5)
    assert isinstance(built, OpenAITTSModel)
    assert built.options.model_dump(exclude_none=True)["speed"] == 1.5


# --- endpoints


def test_endpoints_stand_side_by_side_each_with_its_own_key() -> None:
    endpoints = {
        "kokoro": Endpoint(base_url="http://127.0.0.1:1/v1", limits={"input": 500}),
        "paid": Endpoint(base_url="http://127.0.0.1:2/v1", key_env="PAID_KEY", sample_rate=16_000),
    }
    settings = Settings(endpoints=endpoints)
    environ = {"PAID_KEY": "sk-paid", "OPENAI_API_KEY": "sk-o"}
    kokoro = registry.build("kokoro/kokoro", voice="af_heart", settings=settings, environ=environ)
    paid = registry.build("paid/tts-1", voice="anyone", settings=settings, environ=environ)
    assert (kokoro.__dict__["_key"], paid.__dict__["_key"]) == ("none", "sk-paid")
    assert kokoro.__dict__["_base_url"] == "http://127.0.0.1:1/v1"
    assert paid.__dict__["_sample_rate"] == 16_000
    assert registry.capabilities("kokoro/kokoro", settings).input_limit == 500
    assert registry.capabilities("paid/tts-1", settings).sample_rate == 16_000
    with pytest.raises(AuthenticationFailed, match="PAID_KEY"):
        registry.build("paid/tts-1", settings=settings, environ={"OPENAI_API_KEY": "sk-o"})


def test_an_endpoint_of_an_unknown_adapter_is_a_wrong_setting() -> None:
    settings = Settings(endpoints={"x": Endpoint(adapter="opnai", base_url="http://127.0.0.1")})
    with pytest.raises(MisconfiguredError, match="SPEECHFLEET_ENDPOINTS: x: adapter 'opnai'"):
        registry.build("x/y", settings=settings, environ={})


async def test_voices_are_asked_of_a_server_that_can_tell() -> None:
    async with OpenAIServer(flavour="kokoro") as server, OpenAIServer() as silent:
        endpoints = {
            "kokoro": Endpoint(base_url=server.base_url),
            "silent": Endpoint(base_url=silent.base_url),
        }
        settings = Settings(endpoints=endpoints)
        assert await registry.voices("kokoro/kokoro", settings) == sorted(server.voices)
        assert await registry.voices("silent/unheard-of", settings) == []
    assert "alloy" in await registry.voices("openai/tts-1", settings)


# --- one's own


def test_an_own_class_is_built_with_its_arguments(own_module: Settings) -> None:
    built = registry.build("own/any", voice="v", options={"pitch": 2.0}, settings=own_module)
    assert isinstance(built, Own)
    assert (built.model_name, built.stream, built.voice) == ("any", True, "v")
    assert built.pitch == 2.0
    assert registry.available(own_module, {})["own"].ready
    assert registry.capabilities("own/any", own_module) == Capabilities()


def test_an_own_class_keeps_its_default_voice_and_takes_any_option(own_module: Settings) -> None:
    built = registry.build("named/m", options={"x": 1}, stream=False, settings=own_module)
    assert isinstance(built, Named)
    assert (built.voice, built.stream, built.rest) == ("two", False, {"x": 1})
    assert registry.capabilities("named/m", own_module).input_limit == 7
    with pytest.raises(UnknownVoice):
        registry.build("named/m", voice="three", settings=own_module)


def test_an_own_class_refuses_an_option_that_it_does_not_take(own_module: Settings) -> None:
    with pytest.raises(UnknownOption, match="'pitsch'; did you mean pitch"):
        registry.build("own/any", options={"pitsch": 2.0}, settings=own_module)


@pytest.mark.parametrize("name", ["none", "gone"])
def test_what_is_no_model_is_a_wrong_setting(name: str, own_module: Settings) -> None:
    with pytest.raises(MisconfiguredError, match=f"provider '{name}': own_models:"):
        registry.build(f"{name}/x", settings=own_module)


def test_a_package_that_is_not_there_is_named() -> None:
    settings = Settings(providers={"far": "no_such_package.tts:Model"})
    assert registry.available(settings, {})["far"].reason == (
        "package 'no_such_package' is not installed"
    )
    with pytest.raises(MisconfiguredError, match="no_such_package"):
        registry.build("far/x", settings=settings)


def test_an_entry_point_is_a_provider(
    own_module: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = EntryPoints([EntryPoint("pointed", "own_models:Own", registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    assert registry.available(SETTINGS, {})["pointed"].ready
    built = registry.build("pointed/m", voice="v", settings=SETTINGS)
    assert isinstance(built, Own)
