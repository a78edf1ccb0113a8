"""WAV: what is written is read, and so is what others write."""

from __future__ import annotations

import io
import struct
import wave
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.audio import wav
from speechfleet.words import SOURCES, SegmentWords

PCM = bytes(range(200))
WORDS = SegmentWords("provider", "ab cd", ((0, 2, 0, 40), (3, 5, 50, 100)))
FORMAT = struct.pack("<HHIIHH", 1, 1, 24000, 48000, 2, 16)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    told = len(body) if size is None else size
    return name + struct.pack("<I", told) + body + b"\0" * (len(body) % 2)


def format_chunk(*fields: int) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", *fields))


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


@given(
    st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4]),
    st.sampled_from([8000, 22050, 24000, 48000]),
    st.sampled_from([1, 2]),
    st.none()
    | st.builds(
        SegmentWords,
        st.sampled_from(SOURCES),
        st.text(max_size=20),
        st.lists(st.tuples(*4 * [st.integers(0)]), max_size=5).map(tuple),
    ),
)
def test_what_is_encoded_is_decoded(
    pcm: bytes, rate: int, channels: int, words: SegmentWords | None
) -> None:
    data = wav.encode(pcm, rate, channels, words)
    assert len(data) % 2 == 0
    assert struct.unpack_from("<I", data, 4) == (len(data) - 8,)
    assert data[: wav.HEADER_BYTES + len(pcm)].endswith(pcm)
    decoded = wav.decode(data)
    assert bytes(decoded.pcm) == pcm
    assert (decoded.sample_rate, decoded.channels, decoded.words) == (rate, channels, words)


@pytest.mark.parametrize("words", [None, WORDS], ids=["without words", "with words"])
def test_the_standard_library_reads_it(words: SegmentWords | None) -> None:
    with wave.open(io.BytesIO(wav.encode(PCM, 16000, 2, words))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 2, 2)
        assert file.readframes(file.getnframes()) == PCM


def test_decoding_copies_nothing() -> None:
    data = wav.encode(PCM, 24000)
    pcm = wav.decode(data).pcm
    assert isinstance(pcm, memoryview)
    assert pcm.obj is data


def test_a_header_alone() -> None:
    assert len(wav.header(len(PCM), 24000)) == wav.HEADER_BYTES
    assert wav.encode(PCM, 24000) == wav.header(len(PCM), 24000) + PCM


@pytest.mark.parametrize("size", [wav.UNKNOWN_SIZE, 5 << 30])
def test_a_size_that_no_header_holds(size: int) -> None:
    assert bytes(wav.decode(wav.header(size, 24000) + PCM).pcm) == PCM


def test_whole_frames_only() -> None:
    with pytest.raises(ValueError, match="whole frames"):
        wav.encode(b"123", 24000)
    with pytest.raises(ValueError, match="whole frames"):
        wav.encode(b"12", 24000, 2)


EXTENSIBLE = struct.pack("<HHIIHH", 0xFFFE, 1, 24000, 48000, 2, 16) + struct.pack(
    "<HHIH14s", 22, 16, 4, 1, b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
)


@pytest.mark.parametrize(
    "data",
    [
        riff(chunk(b"fmt ", FORMAT), chunk(b"LIST", b"odd"), chunk(b"data", PCM)),
        riff(chunk(b"JUNK", b"1234567"), chunk(b"fmt ", FORMAT), chunk(b"data", PCM)),
        riff(chunk(b"data", PCM), chunk(b"fmt ", FORMAT)),
        riff(chunk(b"fmt ", FORMAT + b"\0\0"), chunk(b"data", PCM), chunk(b"id3 ", b"tag")),
        riff(chunk(b"fmt ", EXTENSIBLE), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM, 0x7FFFFFFF), size=0x7FFFFFFF),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM, 0), size=0),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM, 0), size=36),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM + b"\1", 0xFFFFFFFF), size=0xFFFFFFFF),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM)) + b"tail",
    ],
)
def test_what_others_write(data: bytes) -> None:
    decoded = wav.decode(data)
    assert bytes(decoded.pcm) in {PCM, PCM + b"\1\0"}
    assert (decoded.sample_rate, decoded.channels, decoded.words) == (24000, 1, None)


def test_no_audio_is_no_stream() -> None:
    decoded = wav.decode(wav.encode(b"", 24000, 1, WORDS))
    assert bytes(decoded.pcm) == b""
    assert decoded.words == WORDS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"ID3\4 and so on and on",
        riff(),
        riff(chunk(b"fmt ", FORMAT)),
        riff(chunk(b"data", PCM)),
        riff(chunk(b"fmt ", FORMAT[:8]), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM, 400)),
        riff(format_chunk(3, 1, 24000, 96000, 4, 32), chunk(b"data", PCM)),
        riff(format_chunk(1, 1, 24000, 24000, 1, 8), chunk(b"data", PCM)),
        riff(format_chunk(1, 0, 24000, 0, 0, 16), chunk(b"data", PCM)),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM), chunk(b"sftt", b"[1]")),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", PCM), chunk(b"sftt", b"[[")),
    ],
)
def test_what_is_no_wav_of_ours(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wav.decode(data)


@given(st.integers(0, 300), st.binary(max_size=20))
def test_damage_is_a_value_error_or_nothing(at: int, damage: bytes) -> None:
    data = bytearray(wav.encode(PCM, 24000, 1, WORDS))
    data[at : at + len(damage)] = damage
    with suppress(ValueError):
        assert len(wav.decode(data).pcm) < len(data)
