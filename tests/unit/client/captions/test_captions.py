"""Captions: what is seen together, and how it is written."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.alignment.tokens import tokens
from speechfleet.captions import captions, check_captions
from speechfleet.captions.cues import FASTEST, LONGEST_S, by_line, joined
from speechfleet.captions.units import CJK_LINE, LATIN_LINE, units
from speechfleet.errors import InvalidRequest
from speechfleet.record import StoredSegment
from speechfleet.words import Word

RATE = 24_000
SECOND = 2 * RATE


def spoken(
    text: str, *, each_s: float = 0.4, gap_s: float = 0.0
) -> tuple[StoredSegment, list[Word]]:
    """One segment, and its words: each as long as the others."""
    words: list[Word] = []
    at = 0
    for start, end in tokens(text):
        size = int(each_s * RATE) * 2
        words.append(Word(start, end, at, at + size, "provider"))
        at += size + int(gap_s * RATE) * 2
    return StoredSegment(0, 0, at, 0, len(text), "h"), words


def lines_of(text: str, **times: float) -> list[list[str]]:
    segment, words = spoken(text, **times)
    found = units(text, [segment], words, SECOND)
    return [[joined(line) for line in cue.lines] for cue in by_line(found, segment.end / SECOND)]


def test_a_cue_a_segment_keeps_the_lines_of_the_text() -> None:
    text = "One & <two>.\n\nThree --> four.\nFive."
    segments = [
        StoredSegment(0, 0, 48_000, 0, 12, "h"),
        StoredSegment(1, 48_000, 50_400, 14, 35, "h"),
    ]
    assert captions("srt", text, segments, RATE, by="segment") == (
        "1\n00:00:00,000 --> 00:00:01,000\nOne & <two>.\n\n"
        "2\n00:00:01,000 --> 00:00:01,050\nThree → four.\nFive.\n\n"
    )
    assert captions("vtt", text, segments, RATE, by="segment").startswith(
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.000\nOne &amp; &lt;two>.\n\n"
    )
    [hours] = [StoredSegment(0, 0, SECOND * 360_062, 0, 3, "h")]
    assert "--> 100:01:02,000" in captions("srt", text, [hours], RATE, by="segment")


def test_sentences_are_parted_before_clauses_and_clauses_before_words() -> None:
    text = (
        "The first sentence is short. The second one, which is a good deal longer than a caption "
        "of two lines can be, goes on and on."
    )
    assert lines_of(text) == [
        ["The first sentence is short."],
        ["The second one, which is a good deal", "longer than a caption of two lines can be,"],
        ["goes on and on."],
    ]


def test_a_wrapped_line_goes_on_and_a_blank_line_ends_a_caption() -> None:
    assert lines_of("It was\na night.\n\nIt rained.") == [["It was a night."], ["It rained."]]


def test_ideographs_stand_without_blanks_sixteen_a_line() -> None:
    text = "今天天气很好，我们去公园散步，然后回家吃饭。" * 2
    found = lines_of(text, each_s=0.2)
    assert "".join(line for cue in found for line in cue) == text
    assert max(len(line) for cue in found for line in cue) <= CJK_LINE


def test_a_word_of_two_hundred_letters_is_cut() -> None:
    found = lines_of("a " + "b" * 200)
    assert max(len(line) for cue in found for line in cue) <= LATIN_LINE
    assert "".join("".join(cue) for cue in found).count("b") == 200


def test_a_short_cue_is_held_until_it_can_be_read() -> None:
    text = "Yes! No."
    words = [
        Word(0, 3, 0, SECOND // 4, "provider"),
        Word(5, 7, 3 * SECOND, 4 * SECOND, "provider"),
    ]
    segment = StoredSegment(0, 0, 4 * SECOND, 0, 8, "h")
    found = by_line(units(text, [segment], words, SECOND), 4.0)
    assert [(cue.start, cue.end) for cue in found] == [(0.0, 1.0), (3.0, 4.0)]


@given(
    st.lists(
        st.sampled_from(["go", "straight", "on,", "stop.", "extraordinarily", "天气"]), max_size=60
    ),
    st.floats(0.05, 1.5),
    st.floats(0.0, 0.5),
)
def test_the_rules_hold_for_any_text(parts: list[str], each_s: float, gap_s: float) -> None:
    text = " ".join(parts)
    segment, words = spoken(text, each_s=each_s, gap_s=gap_s)
    found = units(text, [segment], words, SECOND)
    cues = by_line(found, segment.end / SECOND)
    assert [unit for cue in cues for unit in cue.units] == found, "nothing is lost or moved"
    for cue in cues:
        assert 1 <= len(cue.lines) <= 2
        assert max(len(joined(line)) for line in cue.lines) <= LATIN_LINE
        assert cue.end - cue.start <= max(LONGEST_S, each_s) + 0.001
    assert all(one.end <= other.start + 1e-6 for one, other in pairwise(cues))
    assert FASTEST > 0


def test_words_of_webvtt_have_increasing_times_within_the_cue() -> None:
    segment, words = spoken("one & two three")
    text = captions("vtt", "one & two three", [segment], RATE, words, words=True)
    assert "one <00:00:00.400>&amp; two <00:00:00.800>three" in text


def test_words_of_ass_fill_the_cue() -> None:
    segment, words = spoken("one {two} three")
    text = captions("ass", "one {two} three", [segment], RATE, words, words=True)
    line = text.splitlines()[-1]
    assert line.startswith("Dialogue: 0,0:00:00.00,0:00:01.20,Default,,0,0,0,,")
    assert line.endswith(r"{\k40}one {\k40}(two) {\k40}three")
    assert sum(map(int, re.findall(r"\\k(\d+)", line))) == 120


def test_json_has_every_word_with_its_place_and_source() -> None:
    segment, words = spoken("Hello world.")
    [cue] = json.loads(captions("json", "Hello world.", [segment], RATE, words))["cues"]
    assert cue["words"][1] == {
        "text": "world.", "text_start": 6, "text_end": 12, "start": 0.4, "end": 0.8,
        "source": "provider",
    }  # fmt: skip
    assert (cue["text"], cue["start"], cue["end"]) == ("Hello world.", 0.0, 0.8)


def test_a_segment_without_words_is_shared_out() -> None:
    segment = StoredSegment(0, 0, 2 * SECOND, 0, 9, "h")
    [one, two] = json.loads(captions("json", "abcd efgh", [segment], RATE, by="word"))["cues"]
    assert (one["end"], two["start"], two["end"]) == (1.0, 1.0, 2.0)
    assert one["words"][0]["source"] == "estimated"


@pytest.mark.parametrize(
    ("form", "by", "message"),
    [
        ("doc", "line", "srt, vtt, ass or json, not 'doc'"),
        ("srt", "page", "segment, line or word, not by 'page'"),
    ],
    ids=["form", "unit"],
)
def test_what_there_is_not_is_refused(form: str, by: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_captions(form, by)


def test_a_long_book_takes_time_in_proportion() -> None:
    text = "It was a long way, and nobody knew it. " * 500
    segment, words = spoken(text)
    assert captions("srt", text, [segment], RATE, words).count("-->") == 500
