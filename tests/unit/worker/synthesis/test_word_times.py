"""The times of words as models give them: read, stored, and cheap."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from speechfleet import Msg
from speechfleet.chunks import MarkEntry, encode
from speechfleet.record import StoredSegment
from speechfleet.word_places import words_entry
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.providers.espeak.model import EspeakTTSModel
from speechfleet_worker.synthesis.word_times import read_words, spoken_words, stored_words

LINES = Path(__file__).parents[3] / "data" / "ljspeech.csv"
RATE = 22_050
TRIES = 3


@pytest.mark.parametrize(
    "value",
    [None, 7, "words", [[0, 1, 2]], [["a", 1, 0, 1]], [[0, 1, 0.0, float("nan")]], [None]],
    ids=["nothing", "a number", "a text", "three", "a letter", "no time", "no word"],
)
def test_what_cannot_be_read_counts_as_no_words(value: Any) -> None:
    assert read_words(value) == ()


def test_lists_and_words_are_read_in_order() -> None:
    one, two = SpokenWord(0, 5, 0.0, 0.4), SpokenWord(6, 9, 0.4, 1.0)
    assert read_words([[0, 5, 0, 0.4], two]) == (one, two)
    overlapping, backwards, empty = [3, 7, 0.5, 0.6], [10, 12, 0.1, 0.2], [13, 13, 1.0, 1.0]
    assert read_words([one, overlapping, two, backwards, empty]) == (one, two)


def test_stored_words_are_the_same_words() -> None:
    words = (SpokenWord(0, 5, 0.0, 0.4), SpokenWord(6, 11, 0.4, 9.0))
    stored = stored_words(
        words, source="provider", text="Hello world", language="en", rate=8000, frames=8000
    )
    assert stored.places == ((0, 5, 0, 3200), (6, 11, 3200, 8000)), "nothing ends past the audio"
    assert spoken_words(stored, 8000) == (words[0], SpokenWord(6, 11, 0.4, 1.0))
    told = {"source": "provider", "language": "", "rate": 8000, "frames": 9}
    assert stored_words((), text="Ein Satz, der deutsch ist.", **told).language == "de"  # type: ignore[arg-type]


async def test_words_cost_little_of_a_job_and_of_its_stream() -> None:
    """Of the fastest provider there is: 3 % of the CPU of speaking, 2 % of the audio's bytes."""
    for _ in range(TRIES):
        cpu, size = await shares_of_words()
        assert size <= 0.02
        if cpu <= 0.03:
            return
    pytest.fail(f"words took {cpu:.1%} of the CPU")


async def shares_of_words() -> tuple[float, float]:
    """What words cost: of the CPU of speaking, and of the audio's bytes."""
    speaking = words_took = 0.0
    audio = told = 0
    model = EspeakTTSModel()
    with LINES.open() as lines:
        texts = [line.rstrip("\n").split("|")[1] for line in islice(lines, 60)]
    for text in texts:
        began = time.process_time()
        last: Any = None
        responses: Any = await model.synthesize(Msg("", text))
        async for response in responses:
            last = response
        size = len(last.audio_from(0))
        spoken_at = time.process_time()
        words = read_words(last.metadata["words"])
        stored = stored_words(
            words, source="provider", text=text, language="en", rate=RATE, frames=size // 2
        )
        entry = words_entry(stored, StoredSegment(0, 0, size, 0, len(text), "h"), text)
        assert entry is not None
        fields = encode(entry) + encode(MarkEntry(0, 0, 0, len(text)))
        words_took += time.process_time() - spoken_at
        speaking += spoken_at - began
        audio += size
        told += sum(len(str(field)) for field in fields)
    return words_took / speaking, told / audio
