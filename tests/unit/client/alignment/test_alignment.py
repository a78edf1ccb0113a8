"""Alignment: on recorded speech whose word times are known, and on odd input."""

from __future__ import annotations

import math
import statistics
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet import espeak_library
from speechfleet.alignment import aligner
from speechfleet.alignment.aligner import find_words
from speechfleet.alignment.estimate import estimated_places
from speechfleet.alignment.silences import speech_in
from speechfleet.alignment.tokens import tokens
from speechfleet.errors import ProviderUnavailable
from speechfleet.words import SegmentWords
from tests.support.recorded_speech import RATE, Sentence, recorded_sentences


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return recorded_sentences()


def errors(sentences: list[Sentence]) -> list[float]:
    """How far the beginnings of words are from the truth, in seconds."""
    found: list[float] = []
    for sentence in sentences:
        words = find_words(sentence.text, "en-us", sentence.pcm, RATE)
        assert words.source == "aligned"
        starts = {place[0]: place[2] / RATE for place in words.places}
        # A compound with a hyphen is one word here, and two in the truth.
        known = (word for word in sentence.words if word[0] in starts)
        found += [abs(starts[int(word[0])] - word[2]) for word in known]
    return found


def test_words_are_found_within_the_floors(sentences: list[Sentence]) -> None:
    found = errors(sentences)
    assert len(found) > 150
    assert statistics.median(found) <= 0.030
    assert sum(error <= 0.100 for error in found) / len(found) >= 0.90


def test_a_sentence_that_lacks_words_is_told_by_its_length(sentences: list[Sentence]) -> None:
    whole = [find_words(each.text, "en-us", each.pcm, RATE).ratio or 0 for each in sentences]
    usual = statistics.median(whole)
    assert all(0.85 * usual < ratio < 1.2 * usual for ratio in whole)
    for sentence in sentences:
        half = sentence.pcm[: len(sentence.pcm) // 4 * 2]
        ratio = find_words(sentence.text, "en-us", half, RATE).ratio
        assert ratio is not None
        assert ratio < 0.75 * usual


def check(words: SegmentWords, text: str, pcm: bytes) -> None:
    """Every word of the text, in order, within the audio."""
    assert [(place[0], place[1]) for place in words.places] == tokens(text)
    times = [time for place in words.places for time in place[2:]]
    assert times == sorted(times)
    assert all(0 <= time <= len(pcm) // 2 for time in times)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("In 1984 it cost $29.60, 5 % more – e.g. @home 🙂.", "en-us"),
        ("今天天气很好，我们去公园散步。", "cmn"),
        ("यह एक परीक्षा है।", "hi"),
        ("a", "en"),
    ],
    ids=["numbers and signs", "Chinese", "Hindi", "one letter"],
)
def test_each_word_has_its_place(text: str, language: str) -> None:
    pcm = tone(2.0)
    found = find_words(text, language, pcm, RATE)
    assert found.source == "aligned"
    check(found, text, pcm)


@pytest.mark.parametrize("pcm", [b"\0\0", bytes(200), bytes(2 * RATE)], ids=len)
def test_audio_without_speech_is_no_error(pcm: bytes) -> None:
    check(find_words("Hello there.", "en", pcm, RATE), "Hello there.", pcm)


def test_no_audio_has_no_words() -> None:
    assert find_words("Hello.", "en", b"", RATE).places == ()


def test_a_language_that_espeak_lacks_is_estimated() -> None:
    found = find_words("Kuapa kokooko.", "ak", tone(1.0), RATE)
    assert (found.source, found.ratio) == ("estimated", None)
    check(found, "Kuapa kokooko.", tone(1.0))


def test_without_the_extra_times_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligner, "LIBRARIES", ("numpy", "speechfleet_not_installed"))
    assert find_words("Hello.", "en", tone(1.0), RATE).source == "estimated"


def test_a_voice_that_breaks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, *_: Any) -> None:
        raise ProviderUnavailable("broken")

    monkeypatch.setattr(espeak_library.EspeakLibrary, "speak", broken)
    assert find_words("Hello.", "en", tone(1.0), RATE).source == "estimated"


# --- estimates ------------------------------------------------------------------------------


def tone(seconds: float) -> bytes:
    samples = (round(8000 * math.sin(n / 9)) for n in range(int(seconds * RATE)))
    return b"".join(pack("<h", sample) for sample in samples)


def test_silence_is_shared_out_to_nobody() -> None:
    pcm = bytes(RATE) + tone(1.0) + bytes(RATE) + tone(1.0)
    assert [(round(a / RATE, 1), round(b / RATE, 1)) for a, b in speech_in(pcm, RATE)] == [
        (0.5, 1.5), (2.0, 3.0)
    ]  # fmt: skip
    one, two = estimated_places(tokens("abcd efgh"), pcm, RATE)
    assert [round(time / RATE, 1) for time in (*one[2:], *two[2:])] == [0.5, 1.5, 2.0, 3.0]


@given(st.text(max_size=60), st.binary(max_size=4000))
def test_estimates_hold_for_any_text_and_audio(text: str, pcm: bytes) -> None:
    pcm = pcm[: len(pcm) // 2 * 2]
    check(find_words(text, "", pcm, 8000), text if pcm else "", pcm)
