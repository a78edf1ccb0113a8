"""The words of a speech, as they become known, chunk by chunk."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from speechfleet.chunks import Chunk, WordsEntry
from speechfleet.integrations.word_times import TimedText, WordTimes
from speechfleet.words import Mark

RATE = 1000
SECOND = 2 * RATE


def chunk(
    total: float,
    *,
    marks: tuple[Mark, ...] = (),
    text_end: int = 0,
    is_last: bool = False,
) -> Chunk:
    """So many seconds of audio."""
    size = int(total * SECOND)
    return Chunk(b"", size, size, RATE, is_last=is_last, text_end=text_end, marks=marks)


def mark(index: int, seconds: float, text: str, part: str) -> Mark:
    start = text.index(part)
    return Mark(index, int(seconds * SECOND), start, start + len(part))


def test_a_segment_is_shared_out_once_it_has_ended() -> None:
    text = "One two. Three"
    times = WordTimes()
    assert times.take(chunk(0.0, marks=(mark(0, 0.0, text, "One two."),)), text) == []
    assert times.take(chunk(0.5), text) == []
    assert times.take(chunk(0.7, text_end=8), text) == [
        TimedText("One ", 0.0, 0.3),
        TimedText("two.", 0.3, 0.7),
    ]
    assert times.take(chunk(0.7, marks=(mark(1, 0.7, text, "Three"),)), text) == []
    assert times.take(chunk(1.7, is_last=True), text) == [TimedText(" Three", 0.7, 1.7)]


def test_the_next_segment_ends_the_one_before() -> None:
    text = "One. Two."
    times = WordTimes()
    times.take(chunk(0.0, marks=(mark(0, 0.0, text, "One."),)), text)
    [word] = times.take(chunk(1.5, marks=(mark(1, 1.0, text, "Two."),)), text)
    assert word == TimedText("One.", 0.0, 1.0)


def test_a_segment_that_is_spoken_again_counts_once() -> None:
    text = "One. Two."
    times = WordTimes()
    times.take(chunk(0.0, marks=(mark(0, 0.0, text, "One."),)), text)
    times.take(chunk(1.0, marks=(mark(1, 1.0, text, "Two."),)), text)
    assert times.take(chunk(1.2, marks=(mark(1, 1.0, text, "Two."),)), text) == []
    assert times.take(chunk(2.0, is_last=True), text) == [TimedText(" Two.", 1.0, 2.0)]


def test_the_texts_add_up_to_the_text() -> None:
    text = "  Well... 你好，世界。 And «so» on,\nto the end. "
    times = WordTimes()
    first, second = text.index("你"), text.index("And")
    found = times.take(
        chunk(
            3.0,
            marks=(
                Mark(0, 0, 2, first),
                Mark(1, SECOND, first, second),
                Mark(2, 4000, second, 50),
            ),
        ),
        text,
    )
    found += times.take(chunk(4.0, is_last=True), text)
    assert "".join(word.text for word in found) == text[:50]
    assert [word.text for word in found[:3]] == ["  Well... ", "你", "好，"]
    assert all(before.end == after.start for before, after in pairwise(found))


def test_words_of_the_provider_go_before_shares() -> None:
    text = "One two."
    times = WordTimes()
    entry = WordsEntry(0, 0, "provider", "[[0, 3, 100, 900], [4, 7, 1000, 1800]]")
    last = replace(chunk(1.0, marks=(Mark(0, 0, 0, 8),), is_last=True), _words=(entry,))
    assert times.take(last, text) == [TimedText("One ", 0.05, 0.45), TimedText("two.", 0.5, 0.9)]


def test_a_segment_without_words_gives_its_text_whole() -> None:
    assert WordTimes().take(chunk(1.0, marks=(Mark(0, 0, 0, 3),), is_last=True), "   ") == [
        TimedText("   ", 0.0, 1.0)
    ]
