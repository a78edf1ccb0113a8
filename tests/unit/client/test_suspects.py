"""Suspect segments: too short for their text, beside what is usual for the voice."""

from __future__ import annotations

import pytest

from speechfleet.dialogue import VoicedPart
from speechfleet.request import Request
from speechfleet.spoken_form import SpokenForm
from speechfleet.suspects import KNOWN_AFTER, Paces

USUAL = dict.fromkeys(range(KNOWN_AFTER), 1.4)


def request(**options: object) -> Request:
    return Request("Hello.", "openai/tts-1", "alloy", options)


def test_a_segment_that_is_shorter_than_usual_is_suspect() -> None:
    assert Paces().suspects(request(), {**USUAL, 7: 1.0, 8: 1.1}) == [7]


def test_what_is_usual_is_known_from_other_jobs_of_the_voice() -> None:
    paces = Paces()
    assert paces.suspects(request(), {0: 0.9}) == []
    paces.suspects(request(), USUAL)
    assert paces.suspects(request(), {0: 0.9}) == [0]
    other = Request("Hello.", "openai/tts-1", "nova")
    assert paces.suspects(other, {0: 0.9}) == []


@pytest.mark.parametrize(
    ("speed", "ratio", "found"),
    [(1, 0.45, [0]), (2, 0.45, []), (2, 0.2, [0]), ("fast", 0.45, [0])],
    ids=["usual", "fast", "fast and short", "no number"],
)
def test_an_unknown_voice_is_compared_with_espeak(
    speed: object, ratio: float, found: list[int]
) -> None:
    assert Paces().suspects(request(speed=speed), {0: ratio}) == found


def test_voices_of_a_dialogue_may_differ_in_pace() -> None:
    parts = (VoicedPart("alloy", 0, 3), VoicedPart("nova", 5, 8))
    dialogue = Request("Hi.\n\nHi.", "openai/tts-1", form=SpokenForm(parts=parts))
    assert Paces().suspects(dialogue, {**USUAL, 7: 0.9, 8: 0.4}) == [8]
