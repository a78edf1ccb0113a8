"""The one list of audio formats."""

from __future__ import annotations

from typing import get_args

import pytest

from speechfleet.audio.formats import FORMATS, AudioFormat, AudioFormatName


def test_the_names_that_interfaces_take_are_those_of_the_list_in_its_order() -> None:
    assert get_args(AudioFormatName) == tuple(FORMATS)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "bit_rate"),
    [
        ("mp3", 8_000, 2, 64_000),
        ("mp3", 24_000, 2, 128_000),
        ("aac", 8_000, 2, 96_000),
        ("aac", 24_000, 1, 64_000),
        ("flac", 24_000, 2, 0),
    ],
)
def test_the_bit_rate_keeps_to_the_limits_of_the_codec(
    name: str, rate: int, channels: int, bit_rate: int
) -> None:
    assert FORMATS[name].bit_rate_for(rate, channels) == bit_rate


def test_the_rate_is_fixed_or_the_nearest_that_the_codec_takes() -> None:
    free = AudioFormat("free", "audio/free", "free")
    assert free.rate_for(22_050, None) == 22_050
    assert free.rate_for(30_000, [8_000, 24_000, 32_000]) == 32_000
    assert FORMATS["opus"].rate_for(8_000, [8_000, 48_000]) == 48_000
