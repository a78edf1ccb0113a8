"""Cutting text: nothing lost, nothing above the limit, the same however the text arrives."""

import time
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.demo.corpus import articles
from speechfleet_worker.segmentation import SentenceStream, TextSegment, cut

Count = Callable[[str], int]
Mode = Literal["sentence", "paragraph"]

LJSPEECH = Path(__file__).parents[3] / "data" / "ljspeech.csv"


def utf8(text: str) -> int:
    return len(text.encode())


def han_twice(text: str) -> int:
    return len(text) + sum("\u4e00" <= character <= "\u9fff" for character in text)


COUNTS: list[Count] = [len, utf8, han_twice]


def texts_of(
    text: str, mode: Mode = "sentence", limit: int = 4096, language: str = "en"
) -> list[str]:
    return [segment.text for segment in cut(text, mode=mode, limit=limit, language=language)]


def by_language() -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for article in articles():
        texts.setdefault(article.language, []).append(f"{article.title}\n{article.text}\n\n")
    return {language: "".join(parts) for language, parts in texts.items()}


def ljspeech() -> list[str]:
    lines = LJSPEECH.read_text(encoding="utf-8").splitlines()
    return [line.partition("|")[2] for line in lines]


UDHR = by_language()
BOOKS = {**UDHR, "en-US": " ".join(ljspeech())}


# --- where sentences end


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Hello. How are you?", ["Hello.", "How are you?"]),
        ("en", "I met Dr. Smith at 3.14 p.m. today.", ["I met Dr. Smith at 3.14 p.m. today."]),
        ("en-US", "Go to example.org. Then wait!", ["Go to example.org.", "Then wait!"]),
        ("en", "“Go away.” She left.", ["“Go away.”", "She left."]),
        ("en", "It is known.[1] It is old.", ["It is known.[1]", "It is old."]),
        ("de", "Das ist z. B. gut. Am 3. Oktober. Ja.", None),
        ("es_MX", "¿Qué tal? ¡Hola! Sr. Pérez.", ["¿Qué tal?", "¡Hola!", "Sr. Pérez."]),
        ("hi", "यह है। वह है। तुम हो?", ["यह है।", "वह है।", "तुम हो?"]),
        ("ar", "مرحبا. كيف حالك؟ جيد.", ["مرحبا.", "كيف حالك؟", "جيد."]),
        ("cmn", "你好。我是谁？“他说。”好的！", ["你好。", "我是谁？", "“他说。”", "好的！"]),
        ("en", "你好。我是谁？", ["你好。", "我是谁？"]),
        ("el", "Τι κάνεις; Είμαι καλά.", ["Τι κάνεις;", "Είμαι καλά."]),
        ("", "No language. Two sentences.", ["No language.", "Two sentences."]),
        ("tlh", "Unknown one. Two sentences.", ["Unknown one.", "Two sentences."]),
    ],
)
def test_sentence_ends(language: str, text: str, expected: list[str] | None) -> None:
    expected = expected or ["Das ist z. B. gut.", "Am 3. Oktober.", "Ja."]
    assert texts_of(text, language=language) == expected


def test_a_list_mark_stays_with_its_item() -> None:
    assert texts_of("1. Bread. 2. Milk.\n(3) Eggs\na. Tea") == [
        "1. Bread.",
        "2. Milk.",
        "(3) Eggs",
        "a. Tea",
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\n\n", "\r\n\r\n", "\u2028", " \n \n\t"])
def test_paragraphs_are_never_joined(line_end: str) -> None:
    segments = list(cut(f"One{line_end}Two.{line_end}three", mode="paragraph", limit=4096))
    assert [(s.text, s.paragraph) for s in segments] == [("One", 0), ("Two.", 1), ("three", 2)]


def test_a_wrapped_line_goes_on_and_a_list_does_not() -> None:
    wrapped = "It was the best of times, it was the worst of times, it\nwas the age of wisdom."
    assert texts_of(wrapped) == [wrapped]
    assert texts_of(wrapped.replace("\n", "\n\n")) == wrapped.split("\n")
    assert texts_of("bread\nmilk\neggs") == ["bread", "milk", "eggs"]
    stopped = "This line is long enough to be wrapped, but it has an end.\nand so does this."
    assert texts_of(stopped) == stopped.split("\n")


def test_wrapping_is_judged_by_the_whole_line_also_behind_a_sentence() -> None:
    line = "It was so. And it was the best of times, the worst of times, it"
    assert texts_of(f"{line}\nwas the age.") == ["It was so.", f"{line[11:]}\nwas the age."]


# --- what nobody can speak


@pytest.mark.parametrize("text", ["", " \n ", "...", "* * *", "---\n***", "!?", "🙂", "—\n\n🙂"])
def test_a_text_without_letters_or_digits_has_no_segments(text: str) -> None:
    assert texts_of(text) == texts_of(text, "paragraph") == []


def test_the_unspeakable_stays_with_a_sentence_or_is_dropped() -> None:
    assert texts_of("One.\n* * *\nTwo.") == ["One.", "Two."]
    assert texts_of("Well. ... and then? !! 🙂 Yes. 🙂") == [
        "Well. ...",
        "and then? !!",
        "🙂 Yes.",
    ]


def test_indices_have_no_gaps_where_something_was_dropped() -> None:
    assert [s.index for s in cut("A\n...\nB\n---\nC", mode="paragraph", limit=9)] == [0, 1, 2]


# --- limits


def test_an_over_long_sentence_is_cut_at_clause_marks_then_spaces_then_hard() -> None:
    text = "Well, extraordinary things happen, they said, and word by word"
    assert texts_of(text, limit=10) == [
        "Well,",
        "extraordin",
        "ary things",
        "happen,",
        "they said,",
        "and word",
        "by word",
    ]
    assert texts_of("人人生而自由，在尊严和权利上一律平等", limit=9) == [
        "人人生而自由，",
        "在尊严和权利上一律",
        "平等",
    ]


@pytest.mark.parametrize(
    "grapheme",
    [
        "e\u0301",
        "क्षि",
        "न्त",
        "👩\u200d👩\u200d👧",
        "👍🏽",
        "🇩🇪",
        "🏴\U000e0067\U000e007f",
        "\u1112\u1161\u11ab",
    ],
    ids=lambda g: unicodedata.name(g[0]),
)
def test_a_hard_cut_keeps_graphemes_whole(grapheme: str) -> None:
    text = "x" + grapheme * 40
    assert "".join(texts_of(text, limit=13)).startswith("x" + grapheme)
    for segment in cut(text, mode="sentence", limit=13):
        assert segment.text.removeprefix("x").replace(grapheme, "") == ""


def test_a_grapheme_above_the_limit_is_cut_all_the_same() -> None:
    segments = list(cut("a" + "\u0301" * 30 + "b", mode="sentence", limit=10))
    assert [segment.start for segment in segments] == [0, 30]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused_at_once(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        cut("Hello", mode="sentence", limit=limit)


def test_a_limit_below_one_character_is_refused() -> None:
    with pytest.raises(ValueError, match="'你' alone is above the limit of 2"):
        list(cut("你好", mode="sentence", limit=2, count=utf8))


def test_paragraph_mode_packs_whole_sentences() -> None:
    text = "One one. Two two. Three.\nFour.\nFive."
    assert texts_of(text, "paragraph") == text.split("\n")
    assert texts_of(text, "paragraph", limit=17) == [
        "One one. Two two.",
        "Three.",
        "Four.",
        "Five.",
    ]


# --- properties


def check(text: str, segments: list[TextSegment], limit: int, count: Count) -> None:
    """What holds for every cut: order, exact slices, limits, and nothing speakable lost."""
    assert [segment.index for segment in segments] == list(range(len(segments)))
    for segment in segments:
        assert segment.text == text[segment.start : segment.end] == segment.text.strip()
        assert any(character.isalnum() for character in segment.text)
        assert count(segment.text) <= limit
    for before, after in pairwise(segments):
        assert before.end <= after.start
        assert before.paragraph <= after.paragraph
    starts = [segment.start for segment in segments]
    gaps = zip([0, *(s.end for s in segments)], [*starts, len(text)], strict=True)
    assert not any(character.isalnum() for a, b in gaps for character in text[a:b])


def in_pieces(text: str, size: int, limit: int, language: str) -> list[TextSegment]:
    stream = SentenceStream(limit=limit, language=language)
    pieces = (text[start : start + size] for start in range(0, len(text), size))
    segments = [segment for piece in pieces for segment in stream.feed(piece)]
    return segments + stream.flush()


ALPHABET = st.sampled_from(
    [
        *"aZé7 .,!?;:…\n\r\t\"'()[]*-",
        "Dr. ",
        "e.g. ",
        "\n\n",
        "1. ",
        "。",
        "，",
        "你",
        "”",
        "؟",
        "न्",
        "👩\u200d",
        "🇩",
        "\u0301",
        "word ",
        "x" * 30,
    ]
)
TEXTS = st.lists(ALPHABET, max_size=60).map("".join) | st.text(max_size=80)


@given(TEXTS, st.integers(4, 80), st.sampled_from(COUNTS), st.sampled_from(["en", "zh", "hy"]))
def test_any_text(text: str, limit: int, count: Count, language: str) -> None:
    for mode in ("sentence", "paragraph"):
        segments = list(cut(text, mode=mode, limit=limit, count=count, language=language))
        check(text, segments, limit, count)


@given(TEXTS, st.integers(4, 80), st.integers(1, 20))
def test_any_text_arriving_in_pieces_is_cut_the_same(text: str, limit: int, size: int) -> None:
    whole = list(cut(text, mode="sentence", limit=limit, language="en"))
    assert in_pieces(text, size, limit, "en") == whole


@given(TEXTS)
def test_a_paragraph_that_fits_is_one_segment(text: str) -> None:
    segments = list(cut(text, mode="paragraph", limit=10_000))
    assert len({segment.paragraph for segment in segments}) == len(segments)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("limit", [60, 600])
@pytest.mark.parametrize("language", BOOKS)
def test_books(language: str, limit: int, count: Count) -> None:
    text = BOOKS[language]
    for mode in ("sentence", "paragraph"):
        segments = list(cut(text, mode=mode, limit=limit, count=count, language=language))
        check(text, segments, limit, count)


@pytest.mark.parametrize("size", [1, 4, 16])
@pytest.mark.parametrize("language", BOOKS)
def test_books_arriving_in_pieces_are_cut_the_same(language: str, size: int) -> None:
    text = BOOKS[language]
    whole = list(cut(text, mode="sentence", limit=4096, language=language))
    assert len(whole) > 50
    assert in_pieces(text, size, 4096, language) == whole


def test_a_line_arriving_in_pieces_is_cut_the_same() -> None:
    for line in ljspeech():
        whole = list(cut(line, mode="sentence", limit=120, language="en"))
        assert all(in_pieces(line, size, 120, "en") == whole for size in (1, 4, 16))


@pytest.mark.parametrize("mode", ["sentence", "paragraph"])
def test_an_edit_changes_its_own_segment_only(mode: Mode) -> None:
    text = UDHR["en"]
    assert "without any discrimination" in text
    edited = text.replace("entitled without any discrimination", "given, with no difference,", 1)
    before, after = texts_of(text, mode, limit=400), texts_of(edited, mode, limit=400)
    assert len(before) == len(after)
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1


# --- text that is still being written


def test_a_sentence_is_out_as_soon_as_it_is_certain() -> None:
    stream = SentenceStream(limit=4096)
    assert stream.feed("Hello. How are yo") == []
    assert [s.text for s in stream.feed("u d")] == ["Hello."]
    assert [s.text for s in stream.feed("oing?\n")] == ["How are you doing?"]
    assert stream.feed("Fine") == []
    assert [(s.index, s.start, s.text) for s in stream.flush()] == [(2, 26, "Fine")]
    assert stream.flush() == []


def test_text_may_go_on_after_a_flush() -> None:
    stream = SentenceStream(limit=4096)
    stream.feed("Hold on")
    stream.flush()
    stream.feed(" please. ")
    last = stream.flush()
    assert [(s.index, s.start, s.end, s.text) for s in last] == [(1, 8, 15, "please.")]


def test_an_endless_sentence_does_not_wait_for_its_end() -> None:
    stream = SentenceStream(limit=20)
    assert [s.text for s in stream.feed("one two three four five six")] == ["one two three four"]


# --- cost

NOISE_S = 0.004
TRIES = 5
"""A machine that is busy elsewhere makes a short run look long."""


@pytest.mark.parametrize("mode", ["sentence", "paragraph"])
@pytest.mark.parametrize("filler", ["\n", " "], ids=["paragraphs", "one paragraph"])
def test_the_first_segment_of_five_megabytes_comes_at_once(mode: Mode, filler: str) -> None:
    """That is, as soon as the first one of a hundredth of them."""

    def seconds(copies: int) -> float:
        text = UDHR["en"].replace("\n", filler) * copies
        start = time.process_time()
        next(cut(text, mode=mode, limit=4096))
        return time.process_time() - start

    assert len(UDHR["en"]) * 500 > 5_000_000
    assert any(seconds(500) <= 5 * max(seconds(5), NOISE_S) for _ in range(TRIES))


@pytest.mark.parametrize("unit", [".", " ", "\n", ". ", "! ! ", "a", '"', "- ", ", ", "\u0301"])
def test_degenerate_texts_cost_linear_time(unit: str) -> None:
    def seconds(count: int) -> float:
        start = time.process_time()
        list(cut("x" + unit * count + "x", mode="sentence", limit=4096))
        return time.process_time() - start

    assert any(seconds(300_000) <= 20 * max(seconds(37_500), NOISE_S) for _ in range(TRIES)), (
        "linear is 8 times as long, quadratic 64 times"
    )


@pytest.mark.parametrize(
    ("text", "language"),
    [
        pytest.param("น้ำดำทำกำ", "th", id="sara am of Thai"),
        pytest.param("ນ້ຳດຳທຳກຳ", "lo", id="sara am of Lao"),
        pytest.param("می\u200cخواهم", "fa", id="zero width non-joiner of Persian"),
        pytest.param("র\u200c্য", "bn", id="zero width non-joiner of Bengali"),
        pytest.param("ｶﾞｷﾞﾊﾟ", "ja", id="half-width voicing marks"),
        pytest.param("1\ufe0f\u20e3", "en", id="keycap"),
    ],
)
def test_a_hard_cut_parts_no_sign_from_its_letter(text: str, language: str) -> None:
    for limit in range(6, 24):
        for segment in cut(text * 40, mode="sentence", limit=limit, language=language):
            assert segment.text[0] not in "\u0e33\u0eb3\u200c\uff9e\uff9f\ufe0f\u20e3\u09cd"
