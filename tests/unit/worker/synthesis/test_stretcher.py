"""Audio made faster or slower: as long as asked, at its pitch, whatever its pieces."""

import itertools
import math
from array import array

import pytest

from speechfleet.audio.media_type import PcmShape
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.synthesis.model_driver import AudioPiece
from speechfleet_worker.synthesis.stretcher import Stretcher
from speechfleet_worker.synthesis.word_times import faster

RATE = 24_000


def tone(seconds: float, channels: int = 1) -> bytes:
    samples = array("h")
    for n in range(round(seconds * RATE)):
        samples.extend([round(9000 * math.sin(2 * math.pi * 300 * n / RATE))] * channels)
    return samples.tobytes()


def stretched(pcm: bytes, factor: float, channels: int = 1, step: int = 4800) -> bytes:
    stretcher = Stretcher(factor)
    parts = [
        stretcher.stretched(
            AudioPiece(pcm[at : at + step], PcmShape(RATE, channels), None, {})
        ).pcm
        for at in range(0, len(pcm), step)
    ]
    rest = stretcher.finish()
    return b"".join(parts) + (rest.pcm if rest else b"")


def crossings(pcm: bytes) -> int:
    samples = array("h", pcm)
    return sum(a < 0 <= b for a, b in itertools.pairwise(samples))


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.8, 1.25, 2.0, 4.0])
def test_it_lasts_as_long_as_asked_at_the_same_pitch(factor: float) -> None:
    pcm = tone(2)
    made = stretched(pcm, factor)
    seconds = len(made) / 2 / RATE
    assert seconds == pytest.approx(2 / factor, abs=0.1)  # atempo works in windows of 30 to 80 ms
    assert crossings(made) / seconds == pytest.approx(300, rel=0.05)


def test_the_pieces_do_not_matter() -> None:
    pcm = tone(1)
    assert stretched(pcm, 1.5, step=480) == stretched(pcm, 1.5, step=96_000)


def test_stereo_stays_stereo() -> None:
    made = stretched(tone(1, 2), 2.0, 2, step=9600)
    samples = array("h", made)
    assert samples[::2] == samples[1::2]
    assert len(samples) / 2 / RATE == pytest.approx(0.5, abs=0.1)


def test_no_audio_gives_none() -> None:
    assert Stretcher(2.0).finish() is None


def test_words_keep_their_audio() -> None:
    assert faster((SpokenWord(0, 2, 1.0, 2.0),), 2.0) == (SpokenWord(0, 2, 0.5, 1.0),)
