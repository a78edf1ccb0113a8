"""Sentence ends in the languages of ``tests/data/sentences.txt``, and in scripts of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from speechfleet_worker.segmentation import SentenceStream, cut
from speechfleet_worker.segmentation.abbreviations import languages
from speechfleet_worker.segmentation.marks import COMMON_TERMINATORS, TERMINATORS

SENTENCES = Path(__file__).parents[3] / "data" / "sentences.txt"
WITHOUT_BLANKS = ("ja", "zh")


def examples() -> dict[str, list[list[str]]]:
    """The sentences of each text, by language."""
    texts: dict[str, list[list[str]]] = {}
    language = ""
    for line in SENTENCES.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            language = line.strip("[]")
            texts[language] = []
        elif line and not line.startswith("#"):
            texts[language].append([sentence.strip() for sentence in line.split("|")])
    return texts


EXAMPLES = examples()


def joined(language: str, sentences: list[str]) -> str:
    return ("" if language in WITHOUT_BLANKS else " ").join(sentences)


def cases() -> Iterator[ParameterSet]:
    for language, texts in EXAMPLES.items():
        for number, sentences in enumerate(texts):
            yield pytest.param(language, sentences, id=f"{language}-{number}")


@pytest.mark.parametrize(("language", "sentences"), list(cases()))
def test_a_text_is_cut_as_a_reader_would(language: str, sentences: list[str]) -> None:
    text = joined(language, sentences)
    segments = cut(text, mode="sentence", limit=4096, language=language)
    assert [segment.text for segment in segments] == sentences


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("language", EXAMPLES)
def test_a_text_that_arrives_in_pieces_is_cut_the_same(language: str, size: int) -> None:
    for sentences in EXAMPLES[language]:
        text = joined(language, sentences)
        stream = SentenceStream(limit=4096, language=language)
        segments = [s for n in range(0, len(text), size) for s in stream.feed(text[n : n + size])]
        segments += stream.flush()
        assert [segment.text for segment in segments] == sentences


@pytest.mark.parametrize("language", EXAMPLES)
def test_most_texts_are_cut_right_without_a_language(language: str) -> None:
    right = 0
    for sentences in EXAMPLES[language]:
        segments = cut(joined(language, sentences), mode="sentence", limit=4096)
        right += [segment.text for segment in segments] == sentences
    assert right >= 0.8 * len(EXAMPLES[language])


@pytest.mark.parametrize(
    "mark", sorted(set(TERMINATORS) - COMMON_TERMINATORS), ids=lambda mark: f"U+{ord(mark):04X}"
)
def test_every_terminator_of_unicode_ends_a_sentence(mark: str) -> None:
    text = f"один{mark} два{mark} три{mark}"
    segments = cut(text, mode="sentence", limit=4096, language="xx")
    assert [segment.text for segment in segments] == [
        f"{word}{mark}" for word in ("один", "два", "три")
    ]


def test_an_abbreviation_in_any_case_and_behind_an_opening_sign() -> None:
    for text in (
        "(Dr. Smith) came.",
        "DR. SMITH CAME.",
        "“Dr. Smith came.”",
        "l'Ing. Rossi venne.",
    ):
        language = "it" if "Ing" in text else "en"
        assert len(list(cut(text, mode="sentence", limit=4096, language=language))) == 1


def test_an_abbreviation_before_a_wrapped_line_ends_no_sentence() -> None:
    text = "It is well known in the whole of the old town by the sea that Dr.\nSmith came."
    assert [s.text for s in cut(text, mode="sentence", limit=4096, language="en")] == [text]


def test_each_table_is_of_one_case_and_knows_its_language() -> None:
    assert {"en", "de", "ru", "hi", "ja"} - {"ja"} <= set(languages())
    assert len(languages()) > 40
