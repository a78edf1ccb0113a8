"""The chunks of a stream at another sample rate."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Iterable

import pytest

from speechfleet.accumulator import Accumulator
from speechfleet.audio.resampling import Resampler
from speechfleet.chunks import (
    AudioEntry,
    Chunk,
    Entry,
    Finished,
    MarkEntry,
    Rewind,
    Started,
    WordsEntry,
)
from speechfleet.errors import InvalidRequest
from speechfleet.resampled_chunks import resampled
from speechfleet.words import Mark, Word

AUDIO = random.Random(1).randbytes(2 * 3000)
OTHER = random.Random(2).randbytes(2 * 3000)


def started(rate: int) -> Started:
    return Started(1, "w", "m", "v", f"audio/pcm;rate={rate}", rate)


def entries(pcm: bytes, offset: int = 0, size: int = 960) -> list[Entry]:
    return [
        AudioEntry(offset + at, offset + at + len(pcm[at : at + size]), pcm[at : at + size])
        for at in range(0, len(pcm), size)
    ]


def finished(size: int) -> Finished:
    return Finished(size, 0, "", "")


async def chunks(
    entries: Iterable[Entry], *, linear: bool, accumulate: bool = True
) -> AsyncGenerator[Chunk, None]:
    accumulator = Accumulator(linear=linear, accumulate=accumulate)
    for entry in entries:
        if chunk := accumulator.feed(entry):
            yield chunk


async def heard(
    rate: int, *given: Entry, linear: bool = False, accumulate: bool = True
) -> list[Chunk]:
    source = chunks(given, linear=linear, accumulate=accumulate)
    return [c async for c in resampled(source, rate, accumulate=accumulate, linear=linear)]


def whole(pcm: bytes, source: int, target: int) -> bytes:
    resampler = Resampler(source, target)
    return resampler.push(pcm) + resampler.finish()


def played(chunks: list[Chunk]) -> bytes:
    """As a reader plays them who heeds every rewind."""
    audio = b""
    for chunk in chunks:
        assert chunk.offset == len(audio) or chunk.rewound
        audio = audio[: chunk.offset] + chunk.delta
        assert chunk.total == len(audio)
        assert bytes(chunk.audio) == audio
    return audio


async def test_delta_places_and_all_so_far_are_at_the_wanted_rate() -> None:
    got = await heard(24_000, started(22_050), *entries(AUDIO), finished(len(AUDIO)))
    assert played(got) == whole(AUDIO, 22_050, 24_000)
    assert {chunk.media_type for chunk in got} == {"audio/pcm;rate=24000"}
    assert [chunk.is_last for chunk in got] == [False] * (len(got) - 1) + [True]


async def test_audio_that_has_the_rate_already_passes_as_it_is() -> None:
    given = [started(24_000), *entries(AUDIO), finished(len(AUDIO))]
    got = await heard(24_000, *given)
    assert played(got) == AUDIO
    assert [c.delta for c in got] == [c.delta async for c in chunks(given, linear=False)]


@pytest.mark.parametrize("at", [0, 960, 1440], ids=["all", "a chunk", "part of a chunk"])
async def test_a_rewind_takes_back_what_the_voided_audio_shaped(at: int) -> None:
    got = await heard(
        16_000, started(22_050), *entries(AUDIO[:2880]), Rewind(at, 2, "lost"),
        *entries(OTHER, offset=at), finished(at + len(OTHER)),
    )  # fmt: skip
    assert any(chunk.rewound for chunk in got)
    assert played(got) == whole(AUDIO[:at] + OTHER, 22_050, 16_000)


async def test_a_new_epoch_may_have_another_rate() -> None:
    got = await heard(
        24_000, started(24_000), *entries(AUDIO), Rewind(0, 1, "a new epoch"),
        started(22_050), *entries(OTHER), finished(len(OTHER)),
    )  # fmt: skip
    assert played(got) == whole(OTHER, 22_050, 24_000)


async def test_a_linear_stream_needs_no_audio_that_is_kept() -> None:
    got = await heard(
        8_000, started(24_000), *entries(AUDIO[:2880]), Rewind(960, 2, "lost"),
        *entries(AUDIO[960:], offset=960), finished(len(AUDIO)), linear=True, accumulate=False,
    )  # fmt: skip
    assert b"".join(chunk.delta for chunk in got) == whole(AUDIO, 24_000, 8_000)
    with pytest.raises(InvalidRequest, match="accumulate=False"):
        _ = got[0].audio


async def test_audio_that_can_be_taken_back_has_to_be_kept() -> None:
    with pytest.raises(InvalidRequest, match="linear=True"):
        await heard(8_000, started(24_000), accumulate=False)


async def test_a_text_without_audio_ends_with_an_empty_chunk() -> None:
    [chunk] = await heard(8_000, finished(0))
    assert (chunk.delta, chunk.total, chunk.is_last) == (b"", 0, True)


@pytest.mark.parametrize("accumulate", [True, False], ids=["all words so far", "new words"])
async def test_marks_and_words_name_the_audio_that_is_heard(accumulate: bool) -> None:
    """At half the rate, every place is half as far."""
    got = await heard(
        12_000,
        started(24_000),
        MarkEntry(0, 0, 0, 10), *entries(AUDIO[:1920]),
        WordsEntry(0, 0, "provider", "[[0, 4, 200, 800], [5, 9, 802, 1900]]"),
        MarkEntry(1, 1920, 10, 20), *entries(AUDIO[1920:2880], offset=1920),
        WordsEntry(1, 1920, "provider", "[[10, 14, 1920, 2400]]"), finished(2880),
        linear=True, accumulate=accumulate,
    )  # fmt: skip
    assert [mark for chunk in got for mark in chunk.marks] == [
        Mark(0, 0, 0, 10), Mark(1, 960, 10, 20),
    ]  # fmt: skip
    first = (Word(0, 4, 100, 400, "provider"), Word(5, 9, 402, 950, "provider"))
    second = (Word(10, 14, 960, 1200, "provider"),)
    told = [chunk.words for chunk in got if chunk.words]
    if accumulate:
        assert told[0] == first
        assert told[-1] == first + second
    else:
        assert told == [first, second]
