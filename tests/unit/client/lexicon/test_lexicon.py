"""Words that are spoken otherwise: which are found, what is refused, and where it says so."""

import logging
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.errors import InvalidRequest
from speechfleet.lexicon import Lexicon, LexiconEntry, Replacement, read_lexicon

WORDS = {
    "SQL": "sequel",
    "Dr. No": "doctor no",
    "Dr.": "doctor",
    "北京": "Peking",
    "C++": "c plus",
}


def spoken(text: str, words: dict[str, str] = WORDS) -> str:
    entries = Lexicon.of(words).entries
    return Replacement(entries, language="en", voice="alloy").apply(text)[0]


@pytest.mark.parametrize(
    ("text", "heard"),
    [("SQL, MySQL and sql", "sequel, MySQL and sql"),
     ("Dr. No or Dr. Who", "doctor no or doctor Who"),
     ("SQL's", "sequel's"), ("在北京市", "在Peking市"), ("C++ and C", "c plus and C")],
    ids=["whole words as written", "longest first", "possessive", "without blanks", "signs"],
)  # fmt: skip
def test_words_are_replaced(text: str, heard: str) -> None:
    assert spoken(text) == heard


def test_what_is_spoken_may_hold_other_words_of_the_lexicon() -> None:
    assert spoken("DB2 runs", {"DB2": "DB two", "DB": "dee bee"}) == "dee bee two runs"


def test_an_entry_of_equal_sides_keeps_its_word() -> None:
    assert spoken("St. Ives, St. John", {"St.": "saint", "St. John": "St. John"}) == (
        "saint Ives, St. John"
    )


def test_scopes_are_a_voice_or_a_language() -> None:
    entries = [
        LexiconEntry("Nguyen", "win"), LexiconEntry("Nguyen", "nuin", "fr"),
        LexiconEntry("Nguyen", "wen", "alloy"), LexiconEntry("Paris", "parii", "fr-CA"),
    ]  # fmt: skip

    def one(language: str, voice: str) -> str:
        return Replacement(entries, language=language, voice=voice).apply("Nguyen Paris")[0]

    assert one("en", "nova") == "win Paris"
    assert one("fr-CA", "nova") == "nuin parii"
    assert one("fr", "alloy") == "wen Paris"


def test_the_map_tells_the_written_word() -> None:
    text, map = Replacement(Lexicon.of(WORDS).entries, language="", voice="").apply("An SQL query")
    at = text.index("sequel")
    assert map.written(at, at + 6) == (3, 6)
    assert map.written(at + 7, at + 12) == (7, 12)


def test_only_the_entries_that_a_text_leads_to_are_used() -> None:
    lexicon = Lexicon.of({"a": "b c", "b": "x", "q": "y"})
    assert [entry.written for entry in lexicon.used_in("so a thing")] == ["a", "b"]


def lexicon_file(folder: Path, text: str, name: str = "words.tsv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


BROKEN = {
    "no tab": ("SQL sequel\n", r"words\.tsv:1: 'SQL sequel' is not written<TAB>spoken"),
    "four columns": ("#\na\tb\tc\td\n", r"words\.tsv:2"),
    "nothing spoken": ("a\tb\n\nc\t\n", r"words\.tsv:3"),
    "silent": ("a\t...\n", r"words\.tsv:1: nothing is spoken for 'a'"),
    "twice": ("a\tb\na\tc\n", r"words\.tsv:2: 'a' stands at .*words\.tsv:1 already"),
    "a circle": ("a\tthe b\nb\tan a\n", r"circle: 'a' \(.*:1\) -> 'b' \(.*:2\) -> 'a'"),
    "a word by itself": ("a\tan a\n", r"circle: 'a' \(.*:1\) -> 'a'"),
    "growth without end": (
        "".join(f"w{n}\tw{n + 1} w{n + 1}\n" for n in range(40)) + "w40\tyes\n",
        r"is spoken with more than 1,000 characters",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=list(BROKEN))
def test_broken_lines_are_named_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_lexicon(lexicon_file(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"lexicon .*none\.tsv: No such file"):
        read_lexicon(tmp_path / "none.tsv")


def test_bytes_that_are_no_utf_8_are_named_with_their_line(tmp_path: Path) -> None:
    (path := tmp_path / "words.tsv").write_bytes(b"a\tb\n\xff\tc\n")
    with pytest.raises(InvalidRequest, match=r"words\.tsv:2: the lexicon is not UTF-8"):
        read_lexicon(path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = lexicon_file(tmp_path, "a\tb\n")
    assert read_lexicon(path) is read_lexicon(path)
    lexicon_file(tmp_path, "a\tlonger\n")
    assert read_lexicon(path).entries == (LexiconEntry("a", "longer"),)


PLS = """<?xml version="1.0"?>
<lexicon version="1.0" xmlns="http://www.w3.org/2005/01/pronunciation-lexicon" xml:lang="en">
  <lexeme><grapheme>W3C</grapheme><grapheme>WWWC</grapheme><alias>the consortium</alias></lexeme>
  <lexeme><grapheme>tomato</grapheme><phoneme>t@"meItoU</phoneme></lexeme>
</lexicon>"""


def test_aliases_of_pls_are_read_and_phonemes_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        lexicon = read_lexicon(lexicon_file(tmp_path, PLS, "words.pls"))
    assert lexicon.entries == (
        LexiconEntry("W3C", "the consortium", "en"), LexiconEntry("WWWC", "the consortium", "en"),
    )  # fmt: skip
    assert "1 lexemes have phonemes only" in caplog.text


@pytest.mark.parametrize(
    ("document", "message"),
    [(PLS.replace("</lexicon>", ""), r"words\.pls:5: no element found"),
     ("<!DOCTYPE x [<!ENTITY a 'b'>]><lexicon/>", r"words\.pls:1: a lexicon has no DOCTYPE"),
     ("<lexicon><lexeme><alias>a</alias></lexeme></lexicon>", r"a lexeme without a grapheme")],
    ids=["cut short", "entities", "no grapheme"],
)  # fmt: skip
def test_broken_pls_is_named_with_its_line(tmp_path: Path, document: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_lexicon(lexicon_file(tmp_path, document, "words.pls"))


@given(text=st.text(st.sampled_from("ab .北京Q"), max_size=60))
def test_what_is_not_in_the_lexicon_stays(text: str) -> None:
    replaced, map = Replacement(
        Lexicon.of({"Q": "cue", "a b": "ab"}).entries, language="", voice=""
    ).apply(text)
    assert map.size == len(replaced)
    for at, character in enumerate(replaced):
        start, end = map.written(at, at + 1)
        assert end - start > 1 or text[start] in (character, "Q")


TRIES = 3


def test_ten_thousand_entries_cost_no_more_than_one() -> None:
    text = "some words that no lexicon holds and one w77 " * 400

    def seconds(count: int) -> float:
        words = Replacement(
            [LexiconEntry(f"w{n}", "word") for n in range(count)], language="", voice=""
        )
        began = time.process_time()
        words.apply(text)
        return time.process_time() - began

    # Measured again: a machine that is busy elsewhere makes a short run look long.
    assert any(seconds(10_000) < 5 * min(seconds(1) for _ in range(3)) + 0.1 for _ in range(TRIES))
