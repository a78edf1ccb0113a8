"""Fallback voices as programs, commands and settings give them."""

from __future__ import annotations

from typing import Any

import pytest

from speechfleet.errors import InvalidRequest, MisconfiguredError
from speechfleet.fallback import FallbackVoice, read_fallback
from speechfleet.keywords import request_of
from speechfleet.record import Record
from speechfleet.request import Request
from speechfleet.settings import Settings
from speechfleet.spoken_form import SpokenForm

SETTINGS = Settings()
ORDER: dict[str, Any] = {"model": "a/b:c", "voices": {"x": "y"}, "options": {"seed": 1}}


def test_one_may_be_a_name_with_a_voice_or_a_mapping() -> None:
    assert read_fallback(["openai/tts-1:alloy", "hibari/heart", ORDER]) == (
        FallbackVoice("openai/tts-1", "alloy"),
        FallbackVoice("hibari/heart"),
        FallbackVoice("a/b:c", "", {"x": "y"}, {"seed": 1}),
    )
    assert read_fallback("a/b:c, d/e") == (FallbackVoice("a/b", "c"), FallbackVoice("d/e"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("alloy", "no model"),
        (["a/b", "a/b:c"], "once"),
        ([{"voice": "x"}], "model"),
        ([{"model": "a/b", "voise": "x"}], "voise"),
        ([{"model": "a/b", "voices": ["x"]}], "no mapping"),
        ([{"model": "a/b", "voices": {"x": 1}}], "names to names"),
        ([f"a/{n}" for n in range(9)], "8 are taken"),
        ({"model": "a/b"}, "must be a list"),
        (["a/b:c\n"], "control character"),
    ],
    ids=[
        "no-model",
        "twice",
        "nameless",
        "field",
        "table",
        "number",
        "many",
        "mapping",
        "control",
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_sent(source: object, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        read_fallback(source)


def test_a_request_keeps_them_in_its_record_and_not_in_its_digest() -> None:
    """A batch may be resumed with others."""
    _, plain = request_of("Hi.", {"model": "x/y"}, SETTINGS)
    _, request = request_of("Hi.", {"model": "x/y", "fallback": ["d/e", ORDER]}, SETTINGS)
    assert request.digest == plain.digest
    fields = {"state": "QUEUED", "model": "x/y", "text": "Hi.", "form": request.form.encode()}
    assert Record("default", "id", fields).request.form.fallback == request.form.fallback
    nobody = SpokenForm(fallback=())
    assert SpokenForm.decode(nobody.encode()) == nobody
    with pytest.raises(InvalidRequest, match="of the request itself"):
        Request("Hi.", "d/e", form=request.form).check(100)


def test_the_setting_names_them_by_model_or_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_FALLBACK", '{"x/y": ["a/b:c"], "x": "d/e"}')
    settings = Settings.load()
    assert settings.fallback_of("x/y") == (FallbackVoice("a/b", "c"),)
    assert settings.fallback_of("x/other") == (FallbackVoice("d/e"),)
    assert settings.fallback_of("z/y") == ()
    monkeypatch.setenv("SPEECHFLEET_FALLBACK", '{"x/y": ["nothing"]}')
    with pytest.raises(MisconfiguredError, match=r"SPEECHFLEET_FALLBACK.*provider/model"):
        Settings.load()
