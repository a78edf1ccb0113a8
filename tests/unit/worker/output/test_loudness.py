"""The loudness of stored audio: measured, reached with one gain, and below the true peak."""

import math
from array import array

import pytest

from speechfleet_worker.output.loudness import (
    TRUE_PEAK_DB,
    Amplifier,
    LoudnessMeter,
    gain_for,
)

RATE = 24_000


def tone(seconds: float, level: float, every: float = 0.0) -> bytes:
    """A tone of 440 Hz; with ``every``, a click of full scale so many seconds apart."""
    samples = array("h", bytes(2 * round(seconds * RATE)))
    for n in range(len(samples)):
        samples[n] = round(32767 * level * math.sin(2 * math.pi * 440 * n / RATE))
        if every and n % round(every * RATE) < 3:
            samples[n] = 32767
    return samples.tobytes()


def measured(pcm: bytes) -> tuple[float, float]:
    meter = LoudnessMeter(RATE)
    for start in range(0, len(pcm), 10_002):
        meter.feed(pcm[start : start + 10_002])
    return meter.finish()


def amplified(pcm: bytes, gain: float, true_peak: float) -> bytes:
    amplifier = Amplifier(RATE, gain, true_peak)
    parts = [amplifier.feed(pcm[start : start + 30_000]) for start in range(0, len(pcm), 30_000)]
    return b"".join(parts) + amplifier.finish()


def test_a_tone_has_the_loudness_of_the_standard() -> None:
    # BS.1770: a sine of 997 Hz at 0 dB in one channel has -3.01 LKFS; 440 Hz some 0.7 less.
    loudness, true_peak = measured(tone(3, 0.1))
    assert loudness == pytest.approx(-23.7, abs=0.4)
    assert true_peak == pytest.approx(-20.0, abs=0.1)


@pytest.mark.parametrize("target", [-30.0, -23.0, -16.0])
def test_the_target_is_reached_with_one_gain(target: float) -> None:
    pcm = tone(3, 0.1)
    loudness, true_peak = measured(pcm)
    louder = amplified(pcm, gain_for(target, loudness), true_peak)
    assert len(louder) == len(pcm)
    assert measured(louder)[0] == pytest.approx(target, abs=0.1)


def test_peaks_stay_below_the_limit_and_no_sample_moves() -> None:
    pcm = tone(3, 0.1, every=0.5)
    loudness, true_peak = measured(pcm)
    louder = amplified(pcm, gain_for(-16.0, loudness), true_peak)
    assert len(louder) == len(pcm)
    assert measured(louder)[1] <= TRUE_PEAK_DB
    before, after = array("h", pcm), array("h", louder)
    quiet = range(RATE // 4, RATE // 4 + 100)  # halfway between two clicks
    ratios = [after[n] / before[n] for n in quiet if abs(before[n]) > 1000]
    assert max(ratios) - min(ratios) < 0.2


def test_silence_stays_silent() -> None:
    pcm = bytes(2 * RATE)
    loudness, true_peak = measured(pcm)
    assert gain_for(-16.0, loudness) == 0.0
    assert amplified(pcm, 0.0, true_peak) == pcm


def test_very_little_audio_is_kept_whole() -> None:
    pcm = tone(0.01, 0.5)
    loudness, true_peak = measured(pcm)
    assert len(amplified(pcm, gain_for(-16.0, loudness), true_peak)) == len(pcm)
