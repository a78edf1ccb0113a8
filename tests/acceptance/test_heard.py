"""Natural speech as it is delivered, heard by a recognizer: no word is lost, doubled or garbled.

The text is cut into segments, some of which come from the cache; its worker is killed, so that
another one resumes; the result is joined, resampled and encoded.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from speechfleet import AsyncClient
from speechfleet.audio import wav
from speechfleet.embedded import EmbeddedFleet
from speechfleet.record import Record, StoredSegment
from tests.support.recognizer import Recognizer, word_error_rate, words_of

TRANSCRIPTS = Path(__file__).parents[1] / "data" / "ljspeech.csv"
SPOKEN = (1, 2, 4, 6, 9, 10, 12, 14, 15)
"""Lines of LJ Speech without numbers, which recognizers write in figures."""
CACHED = 2
"""So many of them another job has spoken before."""
MAX_ERROR_RATE = 0.08
JOINED = 3
"""Segments that a broken join is shown with."""

pytestmark = pytest.mark.slow


def lines() -> list[str]:
    transcripts = TRANSCRIPTS.read_text(encoding="utf-8").splitlines()
    return [transcripts[number - 1].partition("|")[2] for number in SPOKEN]


@dataclass(frozen=True)
class Delivered:
    """The stored audio, in two formats, and what became of the job that made it."""

    opus: bytes
    pcm: bytes
    rate: int
    record: Record
    segments: list[StoredSegment]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer()


@pytest.fixture(scope="module")
def delivered(module_folder: Path) -> Delivered:
    patient = {
        "SPEECHFLEET_TIMEOUTS__FIRST_AUDIO": "250",
        "SPEECHFLEET_TIMEOUTS__SILENCE": "250",
    }
    with EmbeddedFleet(module_folder / "data", workers=2, environ=patient) as fleet:
        return asyncio.run(_deliver(fleet))


async def _deliver(fleet: EmbeddedFleet) -> Delivered:
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        text = "\n".join(lines())
        await (await client.submit("\n".join(lines()[:CACHED]))).result(timeout=240)
        job = await client.submit(text, format="opus")
        killed = False
        async for chunk in job.stream():
            if not killed and chunk.text_end > sum(map(len, lines()[:CACHED])):
                boot = (await job.status()).worker
                [worker] = [each for each in fleet.workers if each.boot_id == boot]
                worker.kill(signal.SIGKILL)
                killed = True
        speech = await job.result(timeout=240)
        return Delivered(
            await speech.read(),
            bytes(chunk.audio),
            chunk.sample_rate,
            await job.record(),
            await job.segments(),
        )


def test_every_word_is_heard(delivered: Delivered, recognizer: Recognizer) -> None:
    record = delivered.record
    assert (record.losses, record.spoken_by) == (1, ["hibari/heart"])
    assert record.usage["cached"] == sum(map(len, lines()[:CACHED]))
    assert len(delivered.segments) == len(SPOKEN)
    heard = recognizer.words(delivered.opus)
    assert word_error_rate(words_of(" ".join(lines())), heard) <= MAX_ERROR_RATE, heard


@pytest.mark.parametrize(
    ("order", "is_whole"),
    [
        pytest.param([0, 1, 2], True, id="whole"),
        pytest.param([0, 2], False, id="a segment is dropped"),
        pytest.param([0, 1, 1, 2], False, id="a segment is doubled"),
        pytest.param([1, 0, 2], False, id="two segments are swapped"),
    ],
)
def test_a_broken_join_is_noticed(
    delivered: Delivered, recognizer: Recognizer, order: list[int], is_whole: bool
) -> None:
    parts = [delivered.pcm[each.start : each.end] for each in delivered.segments[:JOINED]]
    audio = wav.encode(b"".join(parts[index] for index in order), delivered.rate)
    expected = words_of(" ".join(lines()[:JOINED]))
    rate = word_error_rate(expected, recognizer.words(audio))
    assert (rate <= MAX_ERROR_RATE) is is_whole, rate


def test_cut_samples_are_noticed(delivered: Delivered, recognizer: Recognizer) -> None:
    """A byte too few turns all samples after it into noise."""
    end = delivered.segments[0].end
    audio = wav.encode(delivered.pcm[1 : end - 1], delivered.rate)
    assert word_error_rate(words_of(lines()[0]), recognizer.words(audio)) > MAX_ERROR_RATE
