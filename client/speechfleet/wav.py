"""WAV of 16-bit PCM: written with a plain header of 44 bytes, read as others write it.

Word timings travel in a chunk of our own behind the audio, ``sfwd``: a JSON list of
``[start, end, ms]``, which players pass over.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from speechfleet.tts import BYTES_PER_SAMPLE

HEADER_BYTES = 44
UNKNOWN_SIZE = 0xFFFF_FFFF
"""The size of what is still being written."""
STREAMED = 0x7FFF_0000
"""From here on a size means that its writer did not know it."""

_PCM = 1
_EXTENSIBLE = 0xFFFE
_WORDS = b"sfwd"

Words = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Wav:
    """``pcm``: s16le, whole frames; a view where it was decoded, free of copying.

    ``words``: (start, end, ms): code points [start, end) of the text begin at ``ms``.
    """

    pcm: bytes | memoryview
    sample_rate: int
    channels: int = 1
    words: Words = ()


def header(size: int, sample_rate: int, channels: int = 1, trailing: int = 0) -> bytes:
    """The 44 bytes before ``size`` bytes of PCM; ``trailing`` bytes of chunks follow those.

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
    words: Sequence[tuple[int, int, int]] = (),
) -> bytes:
    """A whole file. Raises ValueError where ``pcm`` ends within a frame."""
    if len(pcm) % (channels * BYTES_PER_SAMPLE):
        raise ValueError(f"{len(pcm)} bytes are no whole frames of {channels} channels")
    chunk = b""
    if words:
        told = json.dumps([list(word) for word in words], separators=(",", ":")).encode()
        chunk = struct.pack("<4sI", _WORDS, len(told)) + told + b"\0" * (len(told) % 2)
    return b"".join((header(len(pcm), sample_rate, channels, len(chunk)), pcm, chunk))


def decode(data: bytes | bytearray | memoryview) -> Wav:
    """Any order of chunks, unknown chunks, unknown sizes (0, 0xFFFFFFFF), WAVE_EXTENSIBLE.

    Raises ValueError for what is no WAV, no 16-bit PCM, or shorter than it says.
    """
    view = memoryview(data)
    if bytes(view[:4]) != b"RIFF" or bytes(view[8:12]) != b"WAVE":
        raise ValueError("no WAV: it does not begin with RIFF and WAVE")
    chunks: dict[bytes, memoryview] = {}
    for name, body in _chunks(view):
        chunks.setdefault(name, body)
    if b"fmt " not in chunks or b"data" not in chunks:
        raise ValueError("a WAV without a format or without audio")
    sample_rate, channels = _format(chunks[b"fmt "])
    pcm = chunks[b"data"]
    whole = len(pcm) - len(pcm) % (channels * BYTES_PER_SAMPLE)
    return Wav(pcm[:whole], sample_rate, channels, _words(chunks.get(_WORDS)))


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    (riff,) = struct.unpack_from("<I", view, 4)
    at = 12
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
    if not channels or not sample_rate:
        raise ValueError("a WAV without channels or without a sample rate")
    return sample_rate, channels


def _words(body: memoryview | None) -> Words:
    if body is None:
        return ()
    try:
        return tuple((start, end, ms) for start, end, ms in json.loads(bytes(body)))
    except TypeError:
        raise ValueError("a WAV whose word timings are none") from None
