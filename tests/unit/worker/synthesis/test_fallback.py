"""The rules for fallback voices: what is mended by another provider, and what it is asked."""

from __future__ import annotations

import pytest

from speechfleet.dialogue import VoicedPart
from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
    SpeechFleetError,
    StoreUnavailable,
)
from speechfleet.fallback import FallbackVoice, Turn, encode_turns, read_fallback
from speechfleet.request import Request
from speechfleet.settings import Settings
from speechfleet.spoken_form import SpokenForm
from speechfleet_worker.synthesis.fallback import (
    as_spoken,
    request_by,
    should_switch,
    voices_left,
)
from tests.support.stub_ledger import make_record

SETTINGS = Settings(fallback_patience=5, max_attempts=4)
DOWN, QUIET = ProviderUnavailable("down"), ProviderTimeout("silent")


def switches(
    error: SpeechFleetError, failures: int = 1, *, heard: bool = False, open: bool = False
) -> bool:
    return should_switch(error, SETTINGS, failures=failures, is_heard=heard, is_open=open)


@pytest.mark.parametrize("error", [DOWN, QUIET], ids=["down", "silent"])
def test_a_provider_that_is_down_is_left_at_once_unless_it_was_heard(
    error: ProviderUnavailable,
) -> None:
    assert switches(error)
    assert not switches(error, heard=True)
    assert switches(error, 2, heard=True)
    assert switches(error, heard=True, open=True), "others have found it down"


@pytest.mark.parametrize(
    "error", [QuotaExceeded("empty"), AuthenticationFailed("no")], ids=["quota", "key"]
)
def test_what_waiting_does_not_mend_is_left_at_once(error: SpeechFleetError) -> None:
    assert switches(error)
    assert switches(error, heard=True)


def test_a_rate_limit_is_waited_out_as_long_as_patience_lasts() -> None:
    assert not switches(RateLimited("", retry_after=5))
    assert switches(RateLimited("", retry_after=5.1), heard=True)
    assert not switches(RateLimited(""), 3)
    assert switches(RateLimited(""), 4), "else the job would fail"


@pytest.mark.parametrize(
    "error",
    [RequestRejected("words"), IncompleteAudio("cut"), StoreUnavailable("full")],
    ids=["rejected", "incomplete", "store"],
)
def test_what_another_provider_does_not_mend_changes_no_voice(error: SpeechFleetError) -> None:
    assert not switches(error, 4, open=True)


def test_the_next_voice_is_the_one_behind_the_last_that_spoke() -> None:
    voices = read_fallback("a/m, b/m, c/m")
    form = SpokenForm(fallback=voices).encode()
    record = make_record(form=form)
    assert voices_left(record, SETTINGS) == list(voices)
    # One in between was passed over: no worker served it.
    record = make_record(form=form, turns=encode_turns([Turn(0, voices[1], "", "code")]))
    assert voices_left(record, SETTINGS) == [voices[2]]


def test_the_job_goes_before_the_setting_and_the_model_before_its_provider() -> None:
    settings = Settings(fallback={"stub": "a/m", "stub/stub": "b/m,stub/stub"})
    [voice] = voices_left(make_record(), settings)
    assert voice.model == "b/m", "a model is no fallback of its own"
    assert voices_left(make_record(model="stub/other"), settings)[0].model == "a/m"
    none = SpokenForm(fallback=()).encode()
    assert voices_left(make_record(form=none), settings) == []


def test_voices_are_mapped_by_table_then_by_name() -> None:
    voice = FallbackVoice("x/y", voices={"Cherry": "nova"})
    assert voice.voice_for("Cherry", ["alloy"]) == "nova"
    assert voice.voice_for("alloy", ["alloy"]) == "alloy"
    assert voice.voice_for("Ethan", ["alloy"]) == ""
    assert FallbackVoice("x/y", "nova").voice_for("alloy", ["alloy"]) == "nova"


def test_only_options_with_one_meaning_are_carried_over() -> None:
    request = Request(
        "Hi.", "dashscope/qwen3-tts-flash", "alloy",
        options={"speed": 1.2, "instructions": "calm", "seed": 3},
    )  # fmt: skip
    by = FallbackVoice("openai/gpt-4o-mini-tts", options={"response_format": "wav"})
    spoken = request_by(request, by, SETTINGS)
    assert (spoken.model, spoken.voice) == ("openai/gpt-4o-mini-tts", "alloy")
    assert spoken.options == {"speed": 1.2, "instructions": "calm", "response_format": "wav"}
    hibari = request_by(request, FallbackVoice("hibari/heart"), SETTINGS)
    assert hibari.options == {"speed": 1.2}


def test_every_voice_of_a_dialogue_is_mapped() -> None:
    parts = (VoicedPart("Cherry", 0, 3), VoicedPart("", 5, 8))
    request = Request("Hi.\n\nHo.", "dashscope/qwen3-tts-flash", form=SpokenForm(parts=parts))
    by = FallbackVoice("openai/gpt-4o-mini-tts", voices={"Cherry": "nova"})
    spoken = request_by(request, by, SETTINGS)
    assert [part.voice for part in spoken.form.parts] == ["nova", ""]


def test_the_record_of_a_fallback_voice_names_its_model_and_voice() -> None:
    turn = Turn(2, FallbackVoice("openai/gpt-4o-mini-tts", "nova"), "nova", "code")
    record = make_record(turns=encode_turns([turn]), options='{"rate":3}')
    spoken = as_spoken(record, SETTINGS)
    assert (spoken.model, spoken.provider, spoken.voice) == (turn.by.model, "openai", "nova")
    assert spoken.request.options == {}
    assert [record.speaker_of(n) for n in (1, 2)] == [
        ("stub/stub", ""), ("openai/gpt-4o-mini-tts", "nova"),
    ]  # fmt: skip
    assert record.turns == (turn,)
