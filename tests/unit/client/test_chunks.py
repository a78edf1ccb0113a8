"""The chunk stream: codec and accumulator."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.accumulator import Accumulator, Gap
from speechfleet.chunks import (
    AudioEntry,
    Cancelled,
    Entry,
    Failed,
    Finished,
    MalformedEntry,
    MarkEntry,
    Rewind,
    SegmentEntry,
    Started,
    WordsEntry,
    decode,
    decode_known,
    encode,
)
from speechfleet.errors import InvalidRequest

ONE_OF_EACH: list[Entry] = [
    Started(1, "w", "espeak/espeak-ng", "en-us", "audio/pcm;rate=22050", 22050),
    MarkEntry(0, 0, 0, 12),
    AudioEntry(0, 4, b"\x00\xff\x01\x02"),
    SegmentEntry(0, 4, 0, 12),
    WordsEntry(0, 0, "provider", "[[0,5,0,2],[6,12,2,4]]"),
    Rewind(0, 2, "another attempt"),
    Finished(4, 1, "audio/default/x/t.wav", "audio/wav", "{}"),
    Failed("rate_limited", "wait – später", True),
    Cancelled("enough", 12),
]


def on_the_wire(entry: Entry) -> dict[bytes, bytes]:
    flat = [item if isinstance(item, bytes) else str(item).encode() for item in encode(entry)]
    return dict(zip(flat[::2], flat[1::2], strict=True))


@pytest.mark.parametrize("entry", ONE_OF_EACH, ids=lambda entry: entry.kind)
def test_every_kind_survives_the_wire(entry: Entry) -> None:
    assert decode(on_the_wire(entry)) == entry


def test_unknown_kinds_and_fields_are_ignored() -> None:
    assert decode({b"kind": b"sparkle", b"x": b"1"}) is None
    raw = on_the_wire(ONE_OF_EACH[2]) | {b"mood": b"calm"}
    assert decode(raw) == ONE_OF_EACH[2]


@pytest.mark.parametrize("missing", [b"offset", b"total", b"data"])
def test_an_entry_that_lacks_a_field_is_malformed(missing: bytes) -> None:
    raw = on_the_wire(AudioEntry(0, 4, b"\x00\xff\x01\x02"))
    del raw[missing]
    with pytest.raises(MalformedEntry):
        decode(raw)


def test_a_reader_leaves_a_malformed_entry_out() -> None:
    raw = on_the_wire(ONE_OF_EACH[1])
    assert decode_known(raw) == ONE_OF_EACH[1]
    assert decode_known(raw | {b"offset": b"x"}) is None


def test_accumulation() -> None:
    accumulator = Accumulator()
    assert accumulator.feed(ONE_OF_EACH[0]) is None
    one = accumulator.feed(AudioEntry(0, 4, b"abcd"))
    two = accumulator.feed(AudioEntry(4, 6, b"ef"))
    assert one is not None
    assert two is not None
    assert (bytes(one.audio), bytes(two.audio)) == (b"abcd", b"abcdef")
    assert (two.delta, two.offset, two.total) == (b"ef", 4, 6)
    assert two.media_type == "audio/pcm;rate=22050"
    last = accumulator.feed(Finished(6, 1, "o", "audio/wav"))
    assert last is not None
    assert last.is_last
    assert bytes(last.audio) == b"abcdef"
    assert accumulator.feed(AudioEntry(6, 8, b"gh")) is None, "nothing follows a terminal entry"


def test_a_gap_is_told_and_takes_nothing_in() -> None:
    accumulator = Accumulator()
    accumulator.feed(AudioEntry(0, 2, b"ab"))
    with pytest.raises(Gap) as gap:
        accumulator.feed(AudioEntry(4, 6, b"ef"))
    assert (gap.value.held, gap.value.offset) == (2, 4)
    assert accumulator.position == 2


def test_the_accumulated_wire_reads_like_the_normal_one() -> None:
    accumulator = Accumulator()
    deltas = []
    for total in (2, 4, 6):
        chunk = accumulator.feed(AudioEntry(0, total, b"abcdef"[:total]))
        assert chunk is not None
        assert not chunk.rewound
        deltas.append(chunk.delta)
    assert deltas == [b"ab", b"cd", b"ef"]


def test_another_reading_below_what_is_held_replaces_it() -> None:
    accumulator = Accumulator()
    accumulator.feed(AudioEntry(0, 6, b"abcdef"))
    chunk = accumulator.feed(AudioEntry(2, 4, b"XY"))
    assert chunk is not None
    assert chunk.rewound
    assert bytes(chunk.audio) == b"abXY"


@pytest.mark.parametrize("linear", [True, False], ids=["linear", "with rewinds"])
def test_who_plays_the_audio_hears_that_a_segment_has_ended(linear: bool) -> None:
    accumulator = Accumulator(linear=linear)
    accumulator.feed(AudioEntry(0, 4, b"1234"))
    told = [accumulator.feed(SegmentEntry(0, 4, 0, 12)) for _ in range(2)]
    assert accumulator.text_end == 12
    assert told[1] is None, "only once"
    assert (told[0] is not None) is linear
    if told[0] is not None:
        assert (told[0].delta, told[0].total, told[0].text_end) == (b"", 4, 12)


def test_without_accumulation_no_audio_is_kept() -> None:
    accumulator = Accumulator(accumulate=False)
    chunk = accumulator.feed(AudioEntry(0, 4, b"abcd"))
    assert chunk is not None
    assert chunk.delta == b"abcd"
    with pytest.raises(InvalidRequest):
        _ = chunk.audio


def pieces(audio: bytes, start: int, cuts: list[int]) -> list[AudioEntry]:
    edges = sorted({start, len(audio), *(c for c in cuts if start < c < len(audio))})
    return [AudioEntry(a, b, audio[a:b]) for a, b in pairwise(edges) if b > a]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 200), st.binary(min_size=1, max_size=200), st.lists(st.integers(0, 400))
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_readers_agree_and_linear_ones_never_take_back(
    attempts: list[tuple[int, bytes, list[int]]], repeat: bool
) -> None:
    """Random attempts, each rewinding somewhere and speaking on: what do readers hold?"""
    truth = b""
    entries: list[Entry] = []
    for number, (rewind, speech, cuts) in enumerate(attempts):
        keep = min(rewind, len(truth)) if number else 0
        if keep < len(truth):
            entries.append(Rewind(keep, number + 1, "attempt"))
        truth = truth[:keep] + speech
        for piece in pieces(truth, keep, cuts):
            entries += [piece, piece] if repeat else [piece]
    entries.append(Finished(len(truth), 1, "o", "audio/wav"))

    full, linear, light = Accumulator(), Accumulator(linear=True), Accumulator(accumulate=False)
    heard, spoken, rebuilt = None, b"", bytearray()
    for entry in entries:
        heard = full.feed(entry) or heard
        if (chunk := linear.feed(entry)) is not None:
            assert chunk.offset == len(spoken), "a linear reader never goes back"
            spoken += chunk.delta
            assert chunk.audio == spoken
        if (chunk := light.feed(entry)) is not None:
            del rebuilt[chunk.offset :]
            rebuilt += chunk.delta
    assert heard is not None
    assert heard.audio == truth
    assert bytes(rebuilt) == truth
    assert len(spoken) >= len(truth)
