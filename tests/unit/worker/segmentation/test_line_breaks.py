"""Line breaks: wrapped paragraphs go on, verse, lists, headings and tables do not."""

import textwrap

import pytest

from speechfleet.demo.corpus import articles
from speechfleet_worker.segmentation import SentenceStream, cut

VERSE = """\
The harbour lights are low tonight, my love,
And all the boats are sleeping in the bay,
The gulls that cried about the masts above
Have folded up their wings and gone away."""
SHORT_VERSE = "Roses are red,\nviolets are blue,\nsugar is sweet\nand so are you."
LIST = """\
Buy apples from the market before it closes
Call the dentist about the appointment that was moved to May
Water the plants
Write to the landlord about the roof, the door and the garden fence"""
TABLE = "Name      Age      Town of birth and of residence today\nAnna      40       Hamburg"
HEADINGS = "CHAPTER ONE\nIn which a ferry leaves\n\nThe ferry left at noon."
SENTENCES = """\
The kettle is on the stove in the kitchen of the old house.
The children are in the garden behind the house with the dog.
The postman comes up the hill with a letter from the coast.
The letter is from the captain, who has sold his old piano."""
DIALOGUE = """\
—No sé quién ha llamado a la puerta a estas horas de la noche
—Será el viento, que siempre llama a las puertas de los viejos"""


def paragraphs(text: str, language: str = "en") -> list[str]:
    return [s.text for s in cut(text, mode="paragraph", limit=100_000, language=language)]


def prose(language: str) -> list[str]:
    lines = [line for a in articles() if a.language == language for line in a.text.split("\n")]
    return [line for line in lines if len(line) > 300]


@pytest.mark.parametrize("width", [56, 64, 72, 80, 100])
@pytest.mark.parametrize("language", ["en", "de", "es", "hi", "ar"])
def test_wrapped_prose_is_one_paragraph(language: str, width: int) -> None:
    for text in prose(language):
        wrapped = "\n".join(textwrap.wrap(text, width))
        assert paragraphs(wrapped, language) == [wrapped]


@pytest.mark.parametrize("width", [24, 36, 40])
def test_wrapped_chinese_is_one_paragraph(width: int) -> None:
    text = "".join(line for a in articles() if a.language == "zh" for line in a.text.split("\n"))
    wrapped = "\n".join(text[start : start + width] for start in range(0, 400, width))
    assert paragraphs(wrapped, "zh") == [wrapped]


@pytest.mark.parametrize("width", [60, 72])
def test_blank_lines_part_wrapped_paragraphs(width: int) -> None:
    texts = ["\n".join(textwrap.wrap(text, width)) for text in prose("en")]
    assert paragraphs("\n\n".join(texts)) == texts


@pytest.mark.parametrize(
    ("text", "language"),
    [
        pytest.param(VERSE, "en", id="verse"),
        pytest.param(SHORT_VERSE, "en", id="short verse"),
        pytest.param(LIST, "en", id="list without marks"),
        pytest.param(TABLE, "en", id="table"),
        pytest.param(SENTENCES, "en", id="a sentence a line"),
        pytest.param(DIALOGUE, "es", id="dialogue"),
        pytest.param("bread\nmilk\neggs", "en", id="short list"),
        pytest.param(
            "- a first item that is long enough to look like a wrapped line\n- a second one",
            "en",
            id="bullets",
        ),
        pytest.param(
            "1. a first item that is long enough to look like a wrapped line\n2. a second one",
            "en",
            id="numbers",
        ),
    ],
)
def test_lines_that_no_editor_wrapped_stay_lines(text: str, language: str) -> None:
    assert paragraphs(text, language) == text.split("\n")


def test_a_heading_stays_apart() -> None:
    assert len(paragraphs(HEADINGS)) == 3


@pytest.mark.parametrize("hyphen", ["-", "\u2010", "\u00ad"])
def test_a_word_parted_at_a_line_end_is_one_word(hyphen: str) -> None:
    text = f"The letter was re{hyphen}\nceived today."
    assert paragraphs(text) == [text]


def test_a_bracket_quote_digit_or_capital_may_begin_a_wrapped_line() -> None:
    text = (
        "The captain of the little ferry said to all who would hear him that\n"
        "Agnes had carried a piano over the water once, and that it weighed\n"
        "200 pounds, which nobody on the quay of the old town believed when\n"
        "(as he had feared) the bishop was asked for what he knew about it."
    )
    assert paragraphs(text) == [text]


TABLE_ROWS = (
    "LJ001-0004|produced the block books, which were the immediate predecessors of the true "
    "printed book,\n"
    "LJ001-0005|the invention of movable metal letters in the middle of the fifteenth century may "
    "justly be considered as the invention of the art of printing."
)
"""Two rows of LJSpeech's metadata (https://keithito.com/LJ-Speech-Dataset/, public domain)."""


@pytest.mark.parametrize("size", [1, 3, 40])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(VERSE, id="verse"),
        pytest.param(LIST, id="a list"),
        pytest.param(SENTENCES, id="a sentence a line"),
        pytest.param("\n".join(textwrap.wrap(prose("en")[0], 70)), id="wrapped prose"),
        pytest.param(TABLE_ROWS, id="rows of a table"),
    ],
)
def test_lines_that_arrive_in_pieces_are_judged_the_same(text: str, size: int) -> None:
    stream = SentenceStream(limit=4096, language="en")
    segments = [s for n in range(0, len(text), size) for s in stream.feed(text[n : n + size])]
    assert segments + stream.flush() == list(cut(text, mode="sentence", limit=4096, language="en"))


def test_a_short_line_is_out_without_waiting_for_the_next() -> None:
    stream = SentenceStream(limit=4096, language="en")
    assert [s.text for s in stream.feed("A heading\nI")] == ["A heading"]
    assert [s.text for s in stream.feed(" am here.\n")] == ["I am here."]
