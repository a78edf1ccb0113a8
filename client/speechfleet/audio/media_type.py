"""Read and write the media type of raw PCM: ``audio/pcm;rate=24000[;channels=2]``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

MIN_SAMPLE_RATE = 8_000
MAX_SAMPLE_RATE = 96_000
"""Hz; what is outside is no speech, and a few of its bytes would resample to gigabytes."""
DEFAULT_SAMPLE_RATE = 24_000
"""Hz, where nothing tells the rate."""
MAX_CHANNELS = 2
LONGEST_NUMBER = 12
"""Digits of a rate that are read."""
PCM_TYPES = frozenset({"audio/pcm", "audio/l16"})

_PARAMETER = re.compile(r";\s*(rate|channels)\s*=\s*\"?(\d+)\"?\s*(?=;|$)")


class PcmShape(NamedTuple):
    """The sample rate in Hz and the number of interleaved channels."""

    sample_rate: int
    channels: int = 1


def check_shape(sample_rate: int, channels: int = 1) -> PcmShape:
    """Raise ValueError for a rate or a number of channels that is no speech."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise ValueError(
            f"a sample rate of {sample_rate:.6g} Hz; from {MIN_SAMPLE_RATE} to "
            f"{MAX_SAMPLE_RATE} Hz are taken"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"audio of {channels} channels; mono and stereo are taken")
    return PcmShape(sample_rate, channels)


@lru_cache(maxsize=64)
def shape_of(media_type: str, sample_rate: int = DEFAULT_SAMPLE_RATE) -> PcmShape:
    """Read rate and channels; ``sample_rate`` and one channel where it tells none.

    Any type is read, for servers name theirs as they like; see `is_pcm`. Raises ValueError
    for a shape that is no speech.
    """
    found = dict(_PARAMETER.findall(media_type.lower()))
    rate, channels = found.get("rate", sample_rate), found.get("channels", 1)
    # Cut: a number of thousands of digits costs more than to know that it is too large.
    return check_shape(*(int(str(value)[:LONGEST_NUMBER]) for value in (rate, channels)))


@lru_cache(maxsize=64)
def is_pcm(media_type: str) -> bool:
    """Tell whether the type names raw 16-bit PCM."""
    return media_type.partition(";")[0].strip().lower() in PCM_TYPES


def media_type_for(sample_rate: int, channels: int = 1) -> str:
    """Write the media type; the channels only where there is more than one."""
    return f"audio/pcm;rate={sample_rate}" + (f";channels={channels}" if channels != 1 else "")
