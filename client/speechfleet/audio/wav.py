"""Write WAV of 16-bit PCM with a plain header, and read it as others write it.

The words of a stored segment travel in a chunk of our own behind the audio, ``sftt``, which
players pass over (`speechfleet.words.SegmentWords`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.media_type import check_shape
from speechfleet.words import SegmentWords

HEADER_BYTES = 44
UNKNOWN_SIZE = 0xFFFF_FFFF
"""The size of what is still being written."""
STREAMED = 0x7FFF_0000
"""From here on a size means that its writer did not know it."""

FORMAT_BYTES = 26
"""Bytes of a format chunk that are read."""
_PCM = 1
_EXTENSIBLE = 0xFFFE
_WORDS = b"sftt"


@dataclass(frozen=True)
class Wav:
    """``pcm``: s16le, whole frames; a view where it was decoded, free of copying.

    ``words``: of a stored segment, with places in this audio; None where nobody told them.
    """

    pcm: bytes | memoryview
    sample_rate: int
    channels: int = 1
    words: SegmentWords | None = None


def header(size: int, sample_rate: int, channels: int = 1, trailing: int = 0) -> bytes:
    """Make the 44 bytes before ``size`` bytes of PCM; ``trailing`` bytes of chunks follow those.

    `UNKNOWN_SIZE`, or more than a WAV can tell (4 GiB), is written as unknown: readers then
    take all there is.
    """
    if size + trailing > UNKNOWN_SIZE - HEADER_BYTES:
        size = riff = UNKNOWN_SIZE
    else:
        riff = HEADER_BYTES - 8 + size + trailing
    frame = channels * BYTES_PER_SAMPLE
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", riff, b"WAVE"),
        *(b"fmt ", 16, _PCM, channels, sample_rate, sample_rate * frame, frame, 16),
        *(b"data", size),
    )


def encode(
    pcm: bytes | bytearray | memoryview,
    sample_rate: int,
    channels: int = 1,
    words: SegmentWords | None = None,
) -> bytes:
    """Make a whole file. Raises ValueError where ``pcm`` ends within a frame."""
    if len(pcm) % (channels * BYTES_PER_SAMPLE):
        raise ValueError(f"{len(pcm)} bytes are no whole frames of {channels} channels")
    chunk = b""
    if words is not None:
        encoded = words.encode()
        chunk = struct.pack("<4sI", _WORDS, len(encoded)) + encoded + b"\0" * (len(encoded) % 2)
    return b"".join((header(len(pcm), sample_rate, channels, len(chunk)), pcm, chunk))


class StreamHeader(NamedTuple):
    """The beginning of a WAV that is still coming; the audio begins at byte ``start``.

    ``size``: bytes of audio, None where the writer did not know.
    """

    start: int
    size: int | None
    sample_rate: int
    channels: int


def is_wav(beginning: bytes | memoryview) -> bool:
    """Tell whether the first 12 bytes are those of a WAV."""
    return bytes(beginning[:4]) == b"RIFF" and bytes(beginning[8:12]) == b"WAVE"


def stream_header(beginning: bytes) -> StreamHeader | None:
    """Read the header of a WAV whose end has not come yet; None where more bytes are needed.

    Raises ValueError for what `decode` refuses, and for audio before its format.
    """
    shape: tuple[int, int] | None = None
    at = 12
    while len(beginning) >= at + 8:
        name, size = struct.unpack_from("<4sI", beginning, at)
        at += 8
        if name == b"data":
            if shape is None:
                raise ValueError("a WAV without a format before its audio")
            return StreamHeader(at, None if size == 0 or size >= STREAMED else size, *shape)
        if name == b"fmt " and len(beginning) >= at + min(size, FORMAT_BYTES):
            shape = _format(memoryview(beginning)[at : at + size])
        at += size + size % 2
    return None


def decode(data: bytes | bytearray | memoryview) -> Wav:
    """Read a file with chunks in any order, unknown chunks and sizes, WAVE_EXTENSIBLE.

    Raises ValueError for what is no WAV, no 16-bit PCM, or shorter than it says.
    """
    view = memoryview(data)
    if not is_wav(view):
        raise ValueError("no WAV: it does not begin with RIFF and WAVE")
    chunks: dict[bytes, memoryview] = {}
    (riff,) = struct.unpack_from("<I", view, 4)
    for name, body in _chunks(view, riff, 12):
        chunks.setdefault(name, body)
    if b"fmt " not in chunks or b"data" not in chunks:
        raise ValueError("a WAV without a format or without audio")
    sample_rate, channels = _format(chunks[b"fmt "])
    pcm = chunks[b"data"]
    whole = len(pcm) - len(pcm) % (channels * BYTES_PER_SAMPLE)
    return Wav(pcm[:whole], sample_rate, channels, _words(chunks.get(_WORDS)))


def decode_words(behind: bytes) -> SegmentWords | None:
    """Read the words from what `encode` writes behind the audio. Raises ValueError."""
    return _words(dict(_chunks(memoryview(behind), 0, 0)).get(_WORDS))


def _chunks(view: memoryview, riff: int, at: int) -> Iterator[tuple[bytes, memoryview]]:
    while at + 8 <= len(view):
        name, size = struct.unpack_from("<4sI", view, at)
        at += 8
        left = len(view) - at
        if name == b"data" and (size >= max(STREAMED, left) or (not size and _streamed(riff))):
            size = left
        if size > left:
            raise ValueError(f"the WAV ends {size - left} bytes before its chunk {name!r} does")
        yield name, view[at : at + size]
        at += size + size % 2


def _streamed(riff: int) -> bool:
    # An empty data chunk in a file that knows its own size is empty indeed.
    return riff == 0 or riff >= STREAMED or riff == HEADER_BYTES - 8


def _format(body: memoryview) -> tuple[int, int]:
    if len(body) < 16:
        raise ValueError("a WAV whose format chunk is cut short")
    code, channels, sample_rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if code == _EXTENSIBLE and len(body) >= 26:
        (code,) = struct.unpack_from("<H", body, 24)
    if code != _PCM or bits != 16:
        raise ValueError(f"a WAV of format {code} with {bits} bits; 16-bit PCM is read")
    return check_shape(sample_rate, channels)


def _words(body: memoryview | None) -> SegmentWords | None:
    return None if body is None else SegmentWords.decode(body)
