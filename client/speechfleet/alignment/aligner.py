"""Find the words of one segment in its audio: by comparison with espeak-ng, or estimated."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

from speechfleet.alignment.estimate import estimated_places
from speechfleet.alignment.silences import Stretch, speech_in
from speechfleet.alignment.tokens import Token, tokens
from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.errors import SpeechFleetError
from speechfleet.words import Place, SegmentWords

LIBRARIES = ("numpy", "espeakng_loader")
"""The modules that the extra ``words`` installs."""


def can_align() -> bool:
    """Tell whether the extra ``words`` is installed; loads nothing."""
    return all(importlib.util.find_spec(name) is not None for name in LIBRARIES)


def find_words(text: str, language: str, pcm: bytes | memoryview, rate: int) -> SegmentWords:
    """Return the words of ``text`` in frames of the audio that speaks it (s16le, mono).

    ``language``: a tag, "" where it is not known. Blocks, for some 5 ms a second of audio: call
    it in a thread. Estimates where espeak-ng has no such language, or is not installed.
    """
    found = tokens(text)
    if language and found and pcm and can_align():
        aligned = _aligned(text, found, language, pcm, rate)
        if aligned is not None:
            return aligned
    places = estimated_places(found, pcm, rate) if pcm else ()
    return SegmentWords("estimated", text, places)


def _aligned(
    text: str, found: list[Token], language: str, pcm: bytes | memoryview, rate: int
) -> SegmentWords | None:
    from speechfleet.alignment.features import FRAME_S, features_of
    from speechfleet.alignment.reference import speak_reference, word_starts
    from speechfleet.alignment.warping import warp

    try:
        reference = speak_reference(text, language)
    except SpeechFleetError:
        return None
    if reference is None or not reference.pcm:
        return None
    path = warp(features_of(reference.pcm, reference.rate), features_of(pcm, rate))
    starts: list[int] = []
    for seconds in word_starts(found, reference):
        at = min(seconds / FRAME_S, len(path) - 1)
        before = path[int(at)]
        after = path[min(int(at) + 1, len(path) - 1)]
        moment = float(before) + (at - int(at)) * float(after - before)
        starts.append(round(moment * FRAME_S * rate))
    heard = speech_in(pcm, rate)
    places = tuple(_places(found, starts, heard, len(pcm) // BYTES_PER_SAMPLE))
    ours = _seconds(heard, rate)
    theirs = _seconds(speech_in(reference.pcm, reference.rate), reference.rate)
    return SegmentWords("aligned", text, places, ratio=ours / theirs if theirs else None)


def _places(
    found: Sequence[Token], starts: Sequence[int], heard: Sequence[Stretch], size: int
) -> Iterator[Place]:
    """Yield the words: each lasts until the next one begins, or a silence does.

    A word that seems to begin in a silence begins behind it.
    """
    stretch = 0
    for token, start, following in zip(found, starts, [*starts[1:], size], strict=True):
        while stretch < len(heard) - 1 and heard[stretch].end <= start:
            stretch += 1
        begin, end = start, max(start, following)
        if heard:
            begin = min(max(start, heard[stretch].start), end)
            if begin < heard[stretch].end < end:
                end = heard[stretch].end
        yield token.start, token.end, begin, end


def _seconds(heard: Sequence[Stretch], rate: int) -> float:
    return sum(end - start for start, end in heard) / rate
