"""List the audio formats that the fleet writes, without importing PyAV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

AudioFormatName = Literal["wav", "flac", "mp3", "opus", "aac", "pcm"]
"""The names in `FORMATS`, in the same order. HTTP, WebSockets and type checkers accept these."""


@dataclass(frozen=True)
class AudioFormat:
    """Describe an audio format: its names, and what its codec takes."""

    name: str
    """Name of the format in requests, HTTP and commands."""
    media_type: str
    extension: str
    """Extension of its files, without a dot. It is the same as ``name``."""
    container: str = ""
    """FFmpeg's name of the container; "" for wav and pcm, which are written without FFmpeg."""
    codec: str = ""
    """FFmpeg's name of the encoder; "" for wav and pcm."""
    bit_rate: int = 0
    """Bits a second for each channel; 0 for a lossless codec.

    Some codecs take only a few bit rates. Such a codec needs one of them here, and one channel.
    """
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of container and codec, by FFmpeg's names, for every file."""
    stream_options: Mapping[str, str] = field(default_factory=dict)
    """More options for a file that is sent while it is made.

    Nothing in such a file can be changed later. A container whose header holds the length of the
    audio needs options here with which it holds none.
    """
    rate: int = 0
    """Sample rate of every file in Hz; 0: the rate of the PCM, or the codec's nearest one."""
    channels: int = 2
    """Highest number of channels; audio with more is mixed down to mono."""
    bits_per_sample: int = 0
    """Upper limit of the bit rate, as bits per sample and channel; 0: no such limit."""
    bit_rate_limits: Mapping[int, int] = field(default_factory=dict)
    """Upper limit of a stream's bit rate (value) for sample rates below the key."""

    def rate_for(self, sample_rate: int, codec_rates: Sequence[int] | None) -> int:
        """Choose the sample rate of a file, the nearest to this one that the codec takes."""
        if self.rate:
            return self.rate
        if not codec_rates:
            return sample_rate
        return min(codec_rates, key=lambda rate: abs(rate - sample_rate))

    def bit_rate_for(self, rate: int, channels: int) -> int:
        """Compute the bit rate of a stream of this sample rate; 0 for a lossless codec."""
        bit_rate = self.bit_rate
        if self.bits_per_sample:
            bit_rate = min(bit_rate, self.bits_per_sample * rate)
        limits = [limit for below, limit in self.bit_rate_limits.items() if rate < below]
        return min([bit_rate * channels, *limits])

    def media_type_at(self, sample_rate: int) -> str:
        """Write the media type, with the rate where the bytes themselves do not tell it."""
        return f"{self.media_type};rate={sample_rate}" if self.name == "pcm" else self.media_type


FORMATS: dict[str, AudioFormat] = {
    format.name: format
    for format in (
        AudioFormat("wav", "audio/wav", "wav"),
        AudioFormat("flac", "audio/flac", "flac", "flac", "flac"),
        AudioFormat(
            *("mp3", "audio/mpeg", "mp3", "mp3", "libmp3lame", 64_000),
            # Frames alone. A Xing header that is never patched says that there are none, and
            # answers that a client writes one after the other are one valid file.
            stream_options={"write_xing": "0", "id3v2_version": "0"},
            bit_rate_limits={16_000: 64_000},  # MPEG 2.5 has no higher ones
        ),
        AudioFormat(
            *("opus", "audio/ogg", "opus", "ogg", "libopus", 48_000),
            # Pages of 0.1 s, written at once; FFmpeg's own are of a second.
            {"page_duration": "100000", "flush_packets": "1"},
            rate=48_000,  # decoders give this rate, whatever was encoded
        ),
        AudioFormat("aac", "audio/aac", "aac", "adts", "aac", 64_000, bits_per_sample=6),
        AudioFormat("pcm", "audio/pcm", "pcm"),
    )
}
