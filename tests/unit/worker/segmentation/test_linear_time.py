"""Cutting takes linear time, whatever signs a text repeats."""

import time

import pytest

from speechfleet_worker.segmentation import SentenceStream, cut
from speechfleet_worker.segmentation.abbreviations import abbreviations_of, languages
from speechfleet_worker.segmentation.marks import BREAKS, CLOSING, OPENING, TERMINATORS

SMALL, LARGE = 2_500, 20_000
ALLOWED = 2.5 * LARGE / SMALL
"""Times the small text's time; a quadratic scan would take 64 times."""
NOISE_S = 0.004
TRIES = 3
"""A machine that is busy elsewhere makes a short run look long."""


def patterns() -> dict[str, dict[str, str]]:
    """Strings to repeat: every special sign, alone and behind a letter, and what they make up."""
    signs = [*TERMINATORS[:24], *CLOSING, *OPENING, *BREAKS, *" \t\u3000\u00ad\u200b\u200c\u200d"]
    signs += [
        *",;:،؛–—，、；…-_*#|1",
        "\u0301",
        "\u0e33",
        "\U0001f1e6",
        "\U0001f600",
        "你",
        "あ",
        "क्",
    ]
    alone = {f"sign {sign!r}": sign for sign in signs}
    spoken = {f"word and {sign!r}": f"ab{sign} " for sign in signs[::4]}
    abbreviations = {
        f"abbreviation of {language}": f"{min(abbreviations_of(language).always)}. A"
        for language in languages()[::4]
    }
    made = [
        "- . ", '."', "_. ", "\U0001f600. ", ". . ", "... ", "A. ", "a. ", "1. ", "I. ", "X. ",
        "J. R. R. ", "e.g. ", "U.S. ", "a.b", "x! y? ", "x-\n", "x\n", "- x\n", " \n ", "\r\n",
        "word " * 12 + "\n", "Word " * 12 + "\n", "word word. " * 6 + "\n", "A word. ",
        "「あ。」と", "「あ。", "“a. B ", "(a. B ", "—¿A? —b ", "a — b. C ", "x.[1] ",
        "www.a.b/c. ", "a" * 1000 + ". ", "\u0301" * 40 + " ", "\U0001f1e6" * 3, "👩\u200d", "น้ำ",
        "3. Mai ",
    ]  # fmt: skip
    return {
        "signs": alone,
        "signs behind words": spoken,
        "abbreviations": abbreviations,
        "made up": {f"made of {pattern!r}": pattern for pattern in made},
    }


PATTERNS = patterns()


def seconds_for(pattern: str, size: int) -> float:
    text = (pattern * size)[:size]
    start = time.process_time()
    for _ in cut(text, mode="paragraph", limit=600, language="en"):
        pass
    return time.process_time() - start


def is_linear(pattern: str) -> bool:
    small = seconds_for(pattern, SMALL)
    return seconds_for(pattern, LARGE) <= ALLOWED * max(small, NOISE_S)


@pytest.mark.parametrize("kind", PATTERNS)
def test_no_pattern_takes_more_than_linear_time(kind: str) -> None:
    slow = list(PATTERNS[kind])
    for _ in range(TRIES):
        slow = [name for name in slow if not is_linear(PATTERNS[kind][name])]
    assert slow == []


@pytest.mark.parametrize("pattern", ["- . ", '."', "_. ", "\U0001f600. "])
def test_a_text_without_anything_to_speak_costs_little(pattern: str) -> None:
    assert any(
        seconds_for(pattern, 100_000) <= 20 * max(seconds_for(pattern, 12_500), NOISE_S)
        for _ in range(TRIES)
    ), "linear is 8 times as long, quadratic 64 times"


@pytest.mark.parametrize("pattern", ["a", " ", ". ", "\n", "word "])
def test_text_that_arrives_by_the_character_takes_linear_time(pattern: str) -> None:
    def seconds(size: int) -> float:
        stream = SentenceStream(limit=200, language="en")
        start = time.process_time()
        for character in (pattern * size)[:size]:
            stream.feed(character)
        stream.flush()
        return time.process_time() - start

    assert any(seconds(20_000) <= 12 * max(seconds(2_500), NOISE_S) + 0.5 for _ in range(TRIES))
