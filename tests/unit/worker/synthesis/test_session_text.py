"""A session's sentences are those of the whole text, however it comes and whoever goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.request import Lane, Request
from speechfleet.settings import Settings
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.segmentation import TextSegment, cut
from speechfleet_worker.synthesis.model_cache import Voice
from speechfleet_worker.synthesis.session_text import SessionText

TEXT = "Dr. Smith came in. He saw 3.14 of them! Nobody spoke… Then, at last: a word. 很好。再见。"
REQUEST = Request("", "espeak/espeak-ng", lane=Lane.SESSION, open=True)
WHOLE = list(cut(TEXT, mode="sentence", limit=4096))


def voice() -> Voice:
    def build() -> TTSModelBase:
        return registry.build("espeak/espeak-ng", settings=Settings.load())

    return Voice(build, build(), Capabilities(), "en")


@pytest.fixture(scope="module")
def speaker() -> Voice:
    return voice()


def live(speaker: Voice, done: int = 0, cold_start: tuple[int, int] = (0, 0)) -> SessionText:
    start = WHOLE[done - 1].end if done else 0
    return SessionText(REQUEST, speaker, start=start, index=done, cold_start=cold_start)


@given(cuts=st.sets(st.integers(1, len(TEXT) - 1)), done=st.integers(0, len(WHOLE) - 1))
def test_they_are_those_of_the_whole_text(speaker: Voice, cuts: set[int], done: int) -> None:
    text, segments = live(speaker, done), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(TEXT)], strict=True):
        segments += text.take(TEXT[start:end], open=True)
    segments += text.take("", open=False)
    assert [(s.index, s.start, s.end, s.text) for s in segments] == [
        (s.index, s.start, s.end, s.text) for s in WHOLE[done:]
    ]
    assert (text.text, text.size) == (TEXT, len(TEXT.encode()))


def texts(segments: list[TextSegment]) -> list[str]:
    return [segment.text for segment in segments]


@pytest.mark.parametrize(
    ("written", "then", "sentence"),
    [
        ("It rains. An", "d ", "It rains."),
        ("It rains! A", "nd ", "It rains!"),
        ('He "met" Ann. And he ', "stayed there.", 'He "met" Ann.'),
        ("Part V. Here we ", "stop again.", "Part V."),
    ],
    ids=["a word behind", "an exclamation", "quotes", "a numeral"],
)
def test_a_sentence_is_certain_as_soon_as_nothing_can_change_it(
    speaker: Voice, written: str, then: str, sentence: str
) -> None:
    """A word behind a plain full stop is enough; elsewhere a few more characters are needed."""
    text = live(speaker)
    assert texts(text.take(written, open=True)) == []
    assert texts(text.take(then, open=True)) == [sentence]


def test_a_pause_brings_out_what_is_there_and_nothing_twice(speaker: Voice) -> None:
    text = live(speaker)
    text.take("It rains", open=True)
    assert texts(text.pause()) == ["It rains"]
    assert texts(text.pause()) == []
    [rest] = text.take(" again.", open=False)
    assert (rest.text, rest.index, rest.start) == ("again.", 1, 9)


def test_a_cold_start_waits_for_length_and_words(speaker: Voice) -> None:
    text = live(speaker, cold_start=(8, 3))
    for shown in ("Hi\n", "Hi\nthere\n"):
        assert text.take(shown[len(text.text) :], open=True) == []
    assert texts(text.take("you\n", open=True)) == ["Hi", "there"]
    held = live(speaker, cold_start=(800, 300))
    held.take("Short.", open=True)
    assert texts(held.take("", open=False)) == ["Short."]
