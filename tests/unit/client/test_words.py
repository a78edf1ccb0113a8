"""Words of a segment: how they are stored, and carried over to a job's text and audio."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.accumulator import Accumulator
from speechfleet.chunks import (
    AudioEntry,
    Chunk,
    Entry,
    Finished,
    MarkEntry,
    Rewind,
    Started,
    WordsEntry,
)
from speechfleet.heard_text import text_heard
from speechfleet.record import StoredSegment
from speechfleet.word_places import words_entry
from speechfleet.words import SOURCES, Mark, SegmentWords, Word

SEGMENT = StoredSegment(2, 1000, 1400, 10, 24, "h")


def carried(spoken: str, written: str, *words: tuple[str, int, int]) -> dict[str, tuple[int, int]]:
    """The written words, each with its bytes: ``words`` are spoken ones with their frames."""
    places = []
    at = 0
    for word, start, end in words:
        at = spoken.index(word, at)
        places.append((at, at + len(word), start, end))
        at += len(word)
    segment = replace(SEGMENT, text_end=SEGMENT.text_start + len(written))
    entry = words_entry(SegmentWords("provider", spoken, tuple(places)), segment, written)
    assert entry is not None
    text = " " * segment.text_start + written
    return {
        text[word.text_start : word.text_end]: (word.start, word.end) for word in entry.words()
    }


@given(
    st.sampled_from(SOURCES),
    st.text(),
    st.lists(st.tuples(*4 * [st.integers(0)]), max_size=5).map(tuple),
    st.sampled_from(["", "de", "zh-Hant"]),
)
def test_words_survive_the_store(
    source: str, text: str, places: tuple[tuple[int, int, int, int], ...], language: str
) -> None:
    words = SegmentWords(source, text, places, language)  # type: ignore[arg-type]
    assert SegmentWords.decode(words.encode()) == words


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{", id="half"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"source": "heard", "text": "", "words": []}', id="an unknown source"),
        pytest.param(b'{"source": "aligned", "text": "", "words": [[1]]}', id="half a word"),
    ],
)
def test_what_are_no_words_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SegmentWords.decode(data)


def test_places_are_shifted_and_kept_within_the_segment() -> None:
    found = carried("Hello world.", "Hello world.", ("Hello", 0, 90), ("world", 100, 900))
    assert found == {"Hello": (1000, 1180), "world": (1200, 1400)}


def test_changed_words_stand_for_what_was_written() -> None:
    found = carried(
        "Chapter four of the gif file",
        "**Chapter IV** of the [GIF](http://a.b) file",
        *(("Chapter", 0, 10), ("four", 10, 20), ("of", 20, 25), ("the", 25, 30)),
        *(("gif", 30, 40), ("file", 40, 50)),
    )
    assert found["Chapter"] == (1000, 1020)
    assert found["IV"] == (1020, 1040)
    assert found["file"] == (1080, 1100)
    assert next(place for word, place in found.items() if "GIF" in word) == (1060, 1080)


def test_several_spoken_words_of_one_written_word_are_one() -> None:
    found = carried(
        "it costs five dollars now",
        "it costs $5 now",
        *(("it", 0, 5), ("costs", 5, 10), ("five", 10, 20), ("dollars", 20, 30), ("now", 30, 40)),
    )
    assert found == {
        "it": (1000, 1010),
        "costs": (1010, 1020),
        "5": (1020, 1060),
        "now": (1060, 1080),
    }


def test_a_word_that_nobody_wrote_is_left_out() -> None:
    assert carried("well hello", "hello", ("well", 0, 5), ("hello", 5, 9)) == {
        "hello": (1010, 1018)
    }


# --- in the stream --------------------------------------------------------------------------

STREAM: list[Entry] = [
    Started(1, "w", "m/m", "", "audio/pcm;rate=8000", 8000),
    MarkEntry(0, 0, 0, 5),
    AudioEntry(0, 4, b"abcd"),
    WordsEntry(0, 0, "provider", "[[0,5,0,4]]"),
    MarkEntry(1, 4, 6, 12),
    AudioEntry(4, 8, b"efgh"),
    AudioEntry(8, 10, b"ij"),
    WordsEntry(1, 4, "aligned", "[[6,12,4,10]]"),
]
ONE, TWO = Word(0, 5, 0, 4, "provider"), Word(6, 12, 4, 10, "aligned")


def fed(entries: list[Entry], accumulator: Accumulator | None = None) -> list[Chunk]:
    accumulator = accumulator or Accumulator()
    return [chunk for entry in entries if (chunk := accumulator.feed(entry))]


def test_marks_come_with_their_audio_and_words_at_once() -> None:
    chunks = fed(STREAM)
    assert [chunk.marks for chunk in chunks] == [
        (Mark(0, 0, 0, 5),), (), (Mark(1, 4, 6, 12),), (), ()
    ]  # fmt: skip
    assert [chunk.words for chunk in chunks] == [(), (ONE,), (ONE,), (ONE,), (ONE, TWO)]
    assert [chunk.delta for chunk in chunks] == [b"abcd", b"", b"efgh", b"ij", b""]


def test_a_rewind_takes_words_and_marks_back() -> None:
    again: list[Entry] = [
        Rewind(4, 2, "lost"),
        MarkEntry(1, 4, 6, 12),
        AudioEntry(4, 8, b"EFGH"),
        WordsEntry(1, 4, "provider", "[[6,12,4,8]]"),
        Finished(8, 1, "o", "audio/wav"),
    ]
    chunks = fed([*STREAM, *again])[5:]
    assert chunks[0].rewound
    assert chunks[0].words == (ONE,)
    assert chunks[1].marks == (Mark(1, 4, 6, 12),)
    assert chunks[-1].words == (ONE, Word(6, 12, 4, 8, "provider"))


def test_entries_that_come_twice_are_told_once() -> None:
    twice = [entry for entry in STREAM for _ in range(2)]
    chunks = fed(twice)
    assert [mark.index for chunk in chunks for mark in chunk.marks] == [0, 1]
    assert chunks[-1].words == (ONE, TWO)


def test_without_accumulation_each_chunk_has_its_own_words() -> None:
    chunks = fed(STREAM, Accumulator(accumulate=False))
    assert [chunk.words for chunk in chunks] == [(), (ONE,), (), (), (TWO,)]


def test_words_that_cannot_be_read_are_left_out() -> None:
    assert WordsEntry(0, 0, "provider", "[[1]]").words() == ()
    assert WordsEntry(0, 0, "told", "[]").words() == ()


# --- how much was heard ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "heard"),
    [(0, 0), (1, 0), (2, 5), (4, 5), (5, 5), (7, 12), (99, 12)],
    ids=["nothing", "a quarter", "half", "a segment", "the next begun", "half of it", "beyond"],
)
def test_a_word_counts_once_half_of_it_was_heard(offset: int, heard: int) -> None:
    chunks = fed(STREAM)
    marks = [mark for chunk in chunks for mark in chunk.marks]
    assert text_heard(marks, chunks[-1], offset) == heard


def test_a_segment_without_words_counts_in_proportion() -> None:
    marks = [Mark(0, 0, 0, 10), Mark(1, 100, 10, 20)]
    assert text_heard(marks, Chunk(b"", 150, 150, 8000, text_end=10), 50) == 5
    # The second is still being spoken: at the pace of the first it will take 100 bytes.
    assert text_heard(marks, Chunk(b"", 150, 150, 8000, text_end=10), 150) == 15
    assert text_heard(marks, Chunk(b"", 150, 150, 8000, text_end=20), 150) == 20
