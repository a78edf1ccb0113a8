"""Speech at another sample rate: how long, how alike, and the same however it came."""

from __future__ import annotations

import math
import sys
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechfleet.audio import resampling
from speechfleet.audio.resampling import SAMPLE_RATES, Resampler, check_sample_rate
from speechfleet.errors import InvalidRequest

PAIRS = [(22_050, 24_000), (24_000, 16_000), (24_000, 48_000), (24_000, 8_000), (44_100, 48_000)]


def names(pair: tuple[int, int]) -> str:
    return f"{pair[0]} to {pair[1]}"


def tone(hertz: float, rate: int, frames: int, level: float = 20_000) -> bytes:
    step = 2 * math.pi * hertz / rate
    return array("h", [round(level * math.sin(step * n)) for n in range(frames)]).tobytes()


def whole(pcm: bytes, source: int, target: int) -> bytes:
    resampler = Resampler(source, target)
    return resampler.push(pcm) + resampler.finish()


def loudness(pcm: bytes) -> float:
    samples = array("h", pcm)
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


@pytest.mark.parametrize("pair", PAIRS, ids=names)
def test_a_tone_stays_the_tone_that_it_was(pair: tuple[int, int]) -> None:
    source, target = pair
    heard = array("h", whole(tone(440, source, source // 4), source, target))
    wanted = array("h", tone(440, target, target // 4))
    assert len(heard) == len(wanted)
    edge = 200
    error = array("h", [a - b for a, b in zip(heard, wanted, strict=True)][edge:-edge])
    assert loudness(error.tobytes()) < 5, "more than 70 dB below the tone"


@pytest.mark.parametrize("pair", [(24_000, 16_000), (24_000, 8_000), (48_000, 22_050)], ids=names)
def test_a_pitch_above_the_lower_nyquist_frequency_is_not_folded_back(
    pair: tuple[int, int],
) -> None:
    source, target = pair
    heard = whole(tone(target * 0.52, source, source // 4), source, target)
    assert loudness(heard[400:-400]) < 15, "more than 60 dB below the tone"


@pytest.mark.parametrize("level", [12_345, 32_767, -32_768])
def test_a_steady_level_stays_what_it_is(level: int) -> None:
    heard = array("h", whole(array("h", [level] * 2000).tobytes(), 22_050, 24_000))
    assert set(heard[100:-100]) == {level}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([(a, b) for a in SAMPLE_RATES for b in SAMPLE_RATES]),
    st.integers(0, 700),
    st.lists(st.integers(0, 300), max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_length_is_exact_and_the_pieces_do_not_matter(
    pair: tuple[int, int], frames: int, cuts: list[int], random: object
) -> None:
    source, target = pair
    pcm = bytes(random.randbytes(2 * frames))  # type: ignore[attr-defined]
    expected = whole(pcm, source, target)
    assert len(expected) == 2 * math.ceil(frames * target / source)
    resampler, heard = Resampler(source, target), b""
    for cut in cuts:
        heard, pcm = heard + resampler.push(pcm[: 2 * cut]), pcm[2 * cut :]
    assert heard + resampler.push(pcm) + resampler.finish() == expected


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(PAIRS), st.integers(0, 900), st.integers(0, 900))
def test_after_a_rewind_the_audio_is_as_if_nothing_had_been_taken_back(
    pair: tuple[int, int], frames: int, cut: int
) -> None:
    source, target = pair
    cut = min(cut, frames)
    kept, void, new = (tone(hertz, source, 900) for hertz in (300, 500, 700))
    resampler = Resampler(source, target)
    heard = resampler.push(kept[: 2 * cut] + void[: 2 * (frames - cut)])
    start = max(0, cut - resampler.history)
    first_void = resampler.rewind(cut, kept[2 * start : 2 * cut])
    heard = heard[: 2 * first_void] + resampler.push(new) + resampler.finish()
    assert heard == whole(kept[: 2 * cut] + new, source, target)


def test_without_numpy_the_samples_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = tone(1000, 22_050, 4000, 32_767)
    with_numpy = whole(pcm, 22_050, 24_000)
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr(resampling, "_kernel", resampling._kernel.__wrapped__)
    assert type(resampling._kernel(22_050, 24_000)) is resampling._Kernel
    assert whole(pcm, 22_050, 24_000) == with_numpy


def test_a_rate_that_nothing_plays_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="sample_rate=22051 is none of 8000"):
        check_sample_rate(22_051)
