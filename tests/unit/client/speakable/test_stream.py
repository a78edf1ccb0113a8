"""A growing text made speakable: the same as the whole, never taken back, in linear time."""

import time
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from speechfleet.speakable import SourceMap, SpeakableStream, make_speakable
from speechfleet.speakable.characters import LIGATURES

Mode = Literal["markdown", "plain"]

WORDS = (
    "a word Chapter IV x_y _b_ ** * ` `` ``` ~~~ ~~ # [ ] ( ) ]( ![ [^1] [1] < > <b> </b> <p> "
    "<br> <!-- --> <script> </script> & &amp; &lt; | |-|-| - 1. > http:// https://a.b/c www.x.y "
    "[pause --- ---- ==== \\ \\* \" ' e\u0301 é ﬁ 😀 👨\u200d👩 ❤\ufe0f \u00ad 。 中文 [x] [a]: "
    "$5 10% ! ? , ."
)
BLANKS = [" ", "\n", "\n\n", "\r\n", "\t"]
PIECES = st.sampled_from(
    [*WORDS.split(" "), *BLANKS, "[pause 1.5s]", '<break time="300ms"/>', "# "]
)
MARKUP = st.lists(PIECES, max_size=40).map("".join)


def spoken_in_parts(text: str, sizes: list[int], mode: Mode) -> tuple[str, SpeakableStream]:
    stream = SpeakableStream(mode)
    at, out = 0, ""
    for size in sizes:
        out += stream.feed(text[at : at + size])
        at += size
    out += stream.feed(text[at:]) + stream.flush()
    return out, stream


def check_map(written: str, spoken: str, map: SourceMap) -> None:
    assert map.size == len(spoken)
    before = (0, 0)
    for position, character in enumerate(spoken):
        start, end = map.written(position, position + 1)
        assert 0 <= start <= end <= len(written)
        assert before[0] <= start
        assert before[1] <= end
        before = (start, end)
        if character.isalpha() and end - start == 1:
            assert character == written[start] or written[start] in {"&", *LIGATURES}
    assert map.written(0, len(spoken)) == (map.written(0, 1)[0], before[1]) if spoken else True
    for position in range(len(written) + 1):
        place = map.spoken(position)
        assert 0 <= place <= len(spoken)
        if place < len(spoken):
            assert map.written(place, place + 1)[1] >= position


@given(text=MARKUP, sizes=st.lists(st.integers(1, 9), max_size=40))
@example(text="x [pause 1s", sizes=[3, 4])
@example(text="a\r\nb", sizes=[2])
@example(text="| a | b |\n|---|---|\n| 1 | 2 |\n", sizes=[8, 4, 9])
@example(text="see https://a.b/c...", sizes=[5, 5, 5, 3])
@example(text="````\n```\ncode\n````\nsaid", sizes=[3])
@pytest.mark.parametrize("mode", ["markdown", "plain"])
def test_it_is_the_same_however_the_text_arrives(mode: Mode, text: str, sizes: list[int]) -> None:
    whole = make_speakable(text, mode=mode)
    spoken, stream = spoken_in_parts(text, sizes, mode)
    assert spoken == whole.text
    assert tuple(stream.pauses) == whole.pauses
    check_map(text, whole.text, whole.map)
    check_map(text, whole.text, stream.map)


@given(text=st.text(st.sampled_from("abcdeé中文ж 0123456789,;.?!'\n"), max_size=200))
@pytest.mark.parametrize("mode", ["markdown", "plain"])
def test_no_letter_of_plain_prose_is_lost(mode: Mode, text: str) -> None:
    spoken = make_speakable(text, mode=mode).text
    assert [c for c in spoken if c.isalnum()] == [c for c in text if c.isalnum()]


@given(text=st.text(max_size=200))
def test_any_text_has_a_map(text: str) -> None:
    modes: list[Mode] = ["markdown", "plain"]
    for mode in modes:
        speakable = make_speakable(text, mode=mode)
        check_map(text, speakable.text, speakable.map)


ADVERSARIAL = {
    "brackets": "[" * 64,
    "closed links": "[a](b",
    "open tags": "<a ",
    "quotes in tags": "<a \"'",
    "stars": "*_",
    "code": "`a``b```",
    "rows": "|" * 60,
    "table lines": "|a|b|\n",
    "entities": "&am",
    "addresses": "https://a.b/" + "." * 40,
    "quotes": ">" * 50,
    "pauses": "[pause ",
    "references": "][" + "a" * 90,
    "comments": "<!--",
    "one word": "a",
    "fences": "```\n",
    "rules": "- " * 30,
    "headings": "# I\n",
    "marks": "a\u0301" * 9,
    "pictures": "😀\u200d" * 9,
    "link titles": '](a "b',
}


TRIES = 3


@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=list(ADVERSARIAL))
def test_the_time_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        began = time.process_time()
        make_speakable(text, mode="markdown")
        return time.process_time() - began

    # Measured again: a machine that is busy elsewhere makes a short run look long.
    assert any(
        seconds(100_000) < 15 * min(seconds(10_000) for _ in range(3)) + 0.1 for _ in range(TRIES)
    )


def test_a_megabyte_of_markdown_takes_ten_times_as_long_as_a_tenth_of_it() -> None:
    paragraph = (
        "Some **bold** words, a [link](https://example.com/a) and `code`; more of it here.\n\n"
    )

    def seconds(size: int) -> float:
        text = paragraph * (size // len(paragraph))
        began = time.process_time()
        speakable = make_speakable(text, mode="markdown")
        used = time.process_time() - began
        assert speakable.text.startswith("Some bold words, a link and code; more")
        return used

    assert any(seconds(1_000_000) < 30 * seconds(100_000) for _ in range(TRIES))


def test_what_was_handed_out_comes_sentence_by_sentence() -> None:
    stream = SpeakableStream("markdown")
    assert stream.feed("**Hello** wor") == "Hello "
    assert stream.feed("ld. See [the do") == "world. See the "
    assert stream.feed("cs](https://exa") == "docs"
    assert stream.feed("mple.com) now") == " "
    assert stream.flush() == "now"
