"""The phonemes of a sentence: cut where it is long, and each word's own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from speechfleet_worker.providers.hibari.graph import with_output
from speechfleet_worker.providers.hibari.phonemes import LONGEST, Span, clauses, sound_of


@dataclass
class Part:
    """A token as the dictionary returns it; the phonemes are its letters in capitals."""

    text: str
    whitespace: str = " "
    phonemes: str | None = ""


def parts(text: str) -> list[Part]:
    words = text.split()
    last = len(words) - 1
    return [Part(w, "" if n == last else " ", w.upper()) for n, w in enumerate(words)]


def spoken(sentence: str, read_as: str) -> dict[str, str]:
    """Word of the sentence -> its phonemes."""
    [clause] = clauses(sentence, parts(read_as))
    return {
        sentence[text.start : text.end]: clause.phonemes[sound.start : sound.end]
        for text, sound in clause.words
    }


def test_each_word_has_its_own() -> None:
    assert spoken("one  two\nthree", "one two three") == {
        "one": "ONE", "two": "TWO", "three": "THREE",
    }  # fmt: skip


def test_a_word_that_is_read_as_two_has_both() -> None:
    assert spoken("paid $5 now", "paid five dollars now") == {
        "paid": "PAID", "$5": "FIVE DOLLARS", "now": "NOW",
    }  # fmt: skip


def test_words_that_are_rewritten_together_share_the_sound() -> None:
    found = spoken("go 3 km on", "go three kilometers on")
    assert (found["go"], found["on"]) == ("GO", "ON")
    assert found["3"] + found["km"] == "THREE KILOMETERS"


def test_an_apostrophe_is_one_of_either_kind() -> None:
    assert spoken("It’s here", "It's here") == {"It’s": "IT'S", "here": "HERE"}


@pytest.mark.parametrize(
    ("mark", "count"), [(",", 300), ("", 300)], ids=["clauses", "words alone"]
)
def test_a_long_sentence_is_cut(mark: str, count: int) -> None:
    sentence = " ".join(f"w{number}{mark}" for number in range(count))
    found = list(clauses(sentence, parts(sentence)))
    assert len(found) > 3
    assert all(len(clause.phonemes) <= LONGEST for clause in found)
    assert " ".join(clause.phonemes for clause in found) == sentence.upper()
    assert sum(len(clause.words) for clause in found) == count


def test_an_endless_word_is_cut() -> None:
    found = [clause.phonemes for clause in clauses("a" * 999, parts("a" * 999))]
    assert "".join(found) == "A" * 999
    assert max(map(len, found)) == LONGEST


@pytest.mark.parametrize(
    ("phonemes", "sound"), [("“hAt”,", Span(1, 4)), ("—", None), ("", None)],
    ids=["quoted", "a dash", "nothing"],
)  # fmt: skip
def test_pauses_are_no_sound_of_a_word(phonemes: str, sound: Span | None) -> None:
    assert sound_of(phonemes, Span(0, len(phonemes))) == sound


def test_an_output_is_added_behind_the_others() -> None:
    added = with_output(b"model", "x" * 200)
    name = b"\x0a\xc8\x01" + b"x" * 200
    assert added == b"model" + b"\x3a\xce\x01" + b"\x62\xcb\x01" + name
