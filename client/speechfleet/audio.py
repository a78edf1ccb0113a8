"""Audio out: formats, encoders that work while speech still comes, and resampling.

All of it is CPU work (mp3 and opus some 80 times as fast as the speech, wav and flac 1000
times): callers on a loop run it in a thread, one call at a time for each object.
PCM is s16le throughout, channels interleaved. It needs PyAV, so the extra ``worker`` or
``gateway``: nothing else of this package imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.logging
from av.audio.stream import AudioStream

from speechfleet import wav
from speechfleet.errors import UnknownFormat
from speechfleet.tts import BYTES_PER_SAMPLE

av.logging.set_level(None)  # FFmpeg's remarks on stderr are no log lines of ours

Patch = tuple[int, bytes]
"""Bytes to be written over the beginning of what was encoded: (offset, data)."""

BLOCK = 1 << 14
"""Frames of PCM that are encoded in one go, so that long PCM is not copied whole."""
OPUS_RATE = 48_000
LAYOUTS = {1: "mono", 2: "stereo"}


@dataclass(frozen=True)
class AudioFormat:
    """``container`` and ``codec`` are FFmpeg's names, "" where none is needed.

    ``bit_rate``: bits a second and channel, 0 where the codec is lossless.
    """

    name: str
    media_type: str
    extension: str
    container: str = ""
    codec: str = ""
    bit_rate: int = 0
    options: Mapping[str, str] = field(default_factory=dict)

    def media_type_at(self, sample_rate: int) -> str:
        """With the rate where the bytes themselves do not tell it."""
        return f"{self.media_type};rate={sample_rate}" if self.name == "pcm" else self.media_type

    def encoded_rate(self, sample_rate: int) -> int:
        """The rate that the codec takes and that is nearest to this one."""
        if self.codec == "libopus":  # it always decodes to this rate
            return OPUS_RATE
        rates = av.Codec(self.codec, "w").audio_rates if self.codec else None
        return min(rates, key=lambda rate: abs(rate - sample_rate)) if rates else sample_rate


FORMATS: dict[str, AudioFormat] = {
    format.name: format
    for format in (
        AudioFormat("wav", "audio/wav", "wav"),
        AudioFormat("flac", "audio/flac", "flac", "flac", "flac"),
        AudioFormat("mp3", "audio/mpeg", "mp3", "mp3", "libmp3lame", 64_000),
        AudioFormat(
            *("opus", "audio/ogg", "opus", "ogg", "libopus", 48_000),
            # Pages of 0.1 s, written at once; FFmpeg's own are of a second.
            {"page_duration": "100000", "flush_packets": "1"},
        ),
        AudioFormat("aac", "audio/aac", "aac", "adts", "aac", 64_000),
        AudioFormat("pcm", "audio/pcm", "pcm"),
    )
}


class Encoder:
    """One file, encoded incrementally: memory does not grow with its length.

    `write` any number of times, then `finish` once; or `close` where nobody wants the rest.
    The header of some formats holds what is known last (sizes, the number of samples, a
    digest): `finish` answers these as patches of the first 64 KiB. With them applied a file
    tells its exact duration, but for aac (ADTS has no header: players estimate, and decoding
    gives up to 3 frames of 1024 samples more) and opus (players that count the codec's delay
    show 6.5 ms more; what is decoded is exact). No audio at all makes an empty mp3, opus or
    aac, which is no valid file.
    """

    def __init__(self, format: str, sample_rate: int, channels: int = 1) -> None:
        kind = _format(format)
        self._frames = _WholeFrames(channels)
        if kind.codec:
            self._writer: _Writer = _AvWriter(kind, sample_rate, channels)
        else:
            self._writer = _PlainWriter(kind, sample_rate, channels)

    def write(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """The next bytes of the file, maybe none yet. ``pcm`` need not be whole frames."""
        return b"".join([self._writer.write(piece) for piece in self._frames.of(pcm)])

    def finish(self) -> tuple[bytes, list[Patch]]:
        """The last bytes, and what to write over earlier ones."""
        return self._writer.finish()

    def close(self) -> None:
        """Release the codec; idempotent."""
        self._writer.close()


def encode(
    format: str, pcm: bytes | bytearray | memoryview, sample_rate: int, channels: int = 1
) -> bytes:
    """A whole file, for audio that fits in memory."""
    encoder = Encoder(format, sample_rate, channels)
    data = bytearray(encoder.write(pcm))
    tail, patches = encoder.finish()
    data += tail
    for offset, patch in patches:
        data[offset : offset + len(patch)] = patch
    return bytes(data)


class Resampler:
    """PCM of one rate and number of channels into mono of another; the channels' mean.

    What `feed` and `flush` give together lasts as long as what was fed, to within a sample.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int = 1) -> None:
        self._frames = _WholeFrames(channels)
        self._shape = (source_rate, channels)
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=target_rate)

    def feed(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """The next bytes at the target rate; ``pcm`` need not be whole frames."""
        return b"".join([self._resampled(piece) for piece in self._frames.of(pcm)])

    def flush(self) -> bytes:
        """What was held back; ends the resampler."""
        return self._resampled(None)

    def _resampled(self, pcm: memoryview | None) -> bytes:
        frame = None if pcm is None else _av_frame(pcm, *self._shape)
        made = self._resampler.resample(frame)
        # A plane is longer than its samples.
        return b"".join(bytes(f.planes[0])[: f.samples * BYTES_PER_SAMPLE] for f in made)


class _WholeFrames:
    """Carries what a piece leaves of a frame over to the next piece."""

    def __init__(self, channels: int) -> None:
        if channels not in LAYOUTS:
            raise ValueError(f"audio of {channels} channels; mono and stereo are taken")
        self._width = channels * BYTES_PER_SAMPLE
        self._carry = b""

    def of(self, pcm: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """What is complete by now, at most `BLOCK` frames at a time."""
        data = memoryview(self._carry + pcm if self._carry else pcm)
        end = len(data) - len(data) % self._width
        self._carry = bytes(data[end:])
        step = BLOCK * self._width
        for start in range(0, end, step):
            yield data[start : min(start + step, end)]


def _av_frame(pcm: memoryview, sample_rate: int, channels: int) -> av.AudioFrame:
    samples = len(pcm) // (channels * BYTES_PER_SAMPLE)
    frame = av.AudioFrame(format="s16", layout=LAYOUTS[channels], samples=samples)
    frame.sample_rate = sample_rate
    plane = frame.planes[0]
    plane.update(bytes(pcm).ljust(plane.buffer_size, b"\0"))
    return frame


class _PlainWriter:
    """pcm and wav: the bytes are the samples."""

    def __init__(self, format: AudioFormat, sample_rate: int, channels: int) -> None:
        self._shape = (sample_rate, channels)
        self._wav = format.name == "wav"
        self._size = 0
        self._begun = False

    def write(self, pcm: memoryview) -> bytes:
        self._size += len(pcm)
        return self._beginning() + pcm

    def finish(self) -> tuple[bytes, list[Patch]]:
        tail = self._beginning()
        return tail, [(0, wav.header(self._size, *self._shape))] if self._wav else []

    def close(self) -> None:
        self._begun = True

    def _beginning(self) -> bytes:
        if self._begun or not self._wav:
            return b""
        self._begun = True
        return wav.header(wav.UNKNOWN_SIZE, *self._shape)


class _AvWriter:
    """FFmpeg's codecs and containers, writing into memory that is taken away as it fills."""

    def __init__(self, format: AudioFormat, sample_rate: int, channels: int) -> None:
        rate = format.encoded_rate(sample_rate)
        self._shape = (sample_rate, channels)
        self._samples = 0
        self._sink = _Sink()
        self._container = av.open(
            self._sink, "w", format=format.container, options=dict(format.options)
        )
        stream = self._container.add_stream(format.codec, rate=rate, layout=LAYOUTS[channels])
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._stream.codec_context.thread_count = 1
        if format.bit_rate:
            self._stream.bit_rate = _bit_rate(format, rate, channels)
        self._closed = False

    def write(self, pcm: memoryview) -> bytes:
        frame = _av_frame(pcm, *self._shape)
        frame.pts, frame.time_base = self._samples, Fraction(1, self._shape[0])
        self._samples += frame.samples
        self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> tuple[bytes, list[Patch]]:
        self._container.mux(self._stream.encode(None))
        self.close()
        return self._sink.take(), self._sink.patches

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._container.close()


_Writer = _PlainWriter | _AvWriter


class _Sink:
    """The file that FFmpeg writes. What it goes back for was taken before: a patch."""

    def __init__(self) -> None:
        self.patches: list[Patch] = []
        self._ready = bytearray()
        self._taken = 0
        self._position = 0

    def take(self) -> bytes:
        ready = bytes(self._ready)
        self._taken += len(ready)
        self._ready.clear()
        return ready

    def write(self, data: Any) -> int:
        data = bytes(data)
        before = data[: max(0, self._taken - self._position)]
        if before:
            self.patches.append((self._position, before))
        start = self._position + len(before) - self._taken
        rest = data[len(before) :]
        self._ready[start : start + len(rest)] = rest
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        end = self._taken + len(self._ready)
        self._position = offset + (0, self._position, end)[whence]
        return self._position

    def tell(self) -> int:
        return self._position


def _format(name: str) -> AudioFormat:
    if name not in FORMATS:
        raise UnknownFormat(name, FORMATS)
    return FORMATS[name]


def _bit_rate(format: AudioFormat, rate: int, channels: int) -> int:
    """As the codec can do it: AAC holds 6 bits a sample, MP3 below 16 kHz 64 kbit/s in all."""
    if format.codec == "aac":
        return min(format.bit_rate, 6 * rate) * channels
    if format.codec == "libmp3lame" and rate < 16_000:
        return format.bit_rate
    return format.bit_rate * channels
