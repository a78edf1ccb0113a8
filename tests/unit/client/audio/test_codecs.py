"""Encoders and the resampler, judged by decoding again what they make."""

from __future__ import annotations

import io
import math
from array import array
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import av
import pytest

from speechfleet.audio import wav
from speechfleet.audio.codecs import LAYOUTS, Encoder, Resampler, check_format, encode
from speechfleet.audio.formats import FORMATS, AudioFormat
from speechfleet.errors import MissingCodec, UnknownFormat
from tests.support.codecs import remove_codec

FRAME_OF_AAC = 1024
OPUS_DELAY = 312 / 48000
"""Seconds that Ogg's last time stamp counts, and that are not played."""
WITHOUT_EXACT_DURATION = {"pcm", "aac"}
"""Formats without a header that tells a duration; all others tell it to the millisecond."""
PADDED = {"aac"}
"""Formats whose files cannot tell players to skip the frames that the codec added."""
PADDED_FRAMES = 3
"""Frames that a codec may add to the speech. A streamed file may not tell how many."""
LONGEST_FRAME_S = 0.05
"""Duration of a frame at 24 kHz: of mp3 and aac 43 and 48 ms."""


def tone(seconds: float, rate: int, channels: int = 1, hertz: float = 440.0) -> bytes:
    step = 2 * math.pi * hertz / rate
    samples = (int(9000 * math.sin(step * i)) for i in range(round(seconds * rate)))
    return array("h", (s for sample in samples for s in (sample,) * channels)).tobytes()


def pieces(pcm: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Of these sizes, again and again."""
    edges, sizes = [0], list(sizes)
    while edges[-1] < len(pcm):
        edges.append(edges[-1] + sizes[len(edges) % len(sizes)])
    return [pcm[a:b] for a, b in pairwise(edges)]


def streamed(format: str, parts: Iterable[bytes], rate: int) -> bytes:
    """What a listener over HTTP gets: nothing that was sent can be patched."""
    encoder = Encoder(format, rate, streamed=True)
    data = b"".join([encoder.write(part) for part in parts])
    return data + encoder.finish()[0]


def encoded(format: str, parts: Iterable[bytes], rate: int, channels: int = 1) -> bytes:
    """Incrementally, and patched as a store patches it."""
    encoder, data = Encoder(format, rate, channels), bytearray()
    for part in parts:
        data += encoder.write(part)
    tail, patches = encoder.finish()
    data += tail
    for offset, patch in patches:
        assert offset + len(patch) <= min(len(data), 64 << 10)
        data[offset : offset + len(patch)] = patch
    return bytes(data)


class Decoded:
    """``duration``: seconds, None where the file tells none; ``samples``: what it holds."""

    def __init__(self, data: bytes) -> None:
        with av.open(io.BytesIO(data), "r") as file:
            stream = file.streams.audio[0]
            self.rate, self.layout = stream.rate, stream.layout.name
            self.codec = stream.codec_context.name
            self.duration = None if file.duration is None else file.duration / av.time_base
            resampler = av.AudioResampler(format="s16", layout="mono")
            frames = [f for frame in file.decode(stream) for f in resampler.resample(frame)]
        self.samples = array("h")
        for frame in frames:
            self.samples.frombytes(bytes(frame.planes[0])[: 2 * frame.samples])
        self.seconds = len(self.samples) / self.rate


def middle(samples: array[int]) -> array[int]:
    """Without the silence that a codec puts before and after."""
    return samples[len(samples) // 4 : -len(samples) // 4]


def hertz(samples: array[int], rate: int) -> float:
    """The pitch of a tone, by its zero crossings."""
    samples = middle(samples)
    ups = sum(a < 0 <= b for a, b in pairwise(samples))
    return ups * rate / len(samples)


def loudness(samples: array[int]) -> float:
    samples = middle(samples)
    return math.sqrt(sum(s * s for s in samples) / len(samples))


RATES = {
    # Sample rate that is asked for: sample rate of the file.
    "flac": {8000: 8000, 22050: 22050, 24000: 24000, 48000: 48000, 96000: 96000},
    "mp3": {8000: 8000, 22050: 22050, 24000: 24000, 96000: 48000},
    "opus": {8000: 48000, 22050: 48000, 24000: 48000, 48000: 48000},
    "aac": {8000: 8000, 22050: 22050, 24000: 24000, 96000: 96000, 30000: 32000},
}
CASES = [(name, rate, made) for name, rates in RATES.items() for rate, made in rates.items()]


def test_every_format_with_a_codec_is_encoded_at_several_rates() -> None:
    assert set(RATES) == {name for name, format in FORMATS.items() if format.codec}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 24000])
def test_a_format_may_have_one_rate_one_channel_and_fixed_bit_rates(
    monkeypatch: pytest.MonkeyPatch, rate: int, channels: int
) -> None:
    names = ("ac3", "audio/ac3", "ac3", "ac3", "ac3")
    monkeypatch.setitem(FORMATS, "ac3", AudioFormat(*names, 64_000, rate=32_000, channels=1))
    decoded = Decoded(encode("ac3", tone(1.5, rate, channels), rate, channels))
    assert (decoded.rate, decoded.layout) == (32_000, "mono")
    assert decoded.seconds == pytest.approx(1.5, abs=0.1)  # frames of 48 ms
    assert hertz(decoded.samples, 32_000) == pytest.approx(440, rel=0.02)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("format", "rate", "made"), CASES)
def test_a_file_holds_what_was_encoded(format: str, rate: int, made: int, channels: int) -> None:
    seconds = 1.5 + 7 / rate
    decoded = Decoded(encode(format, tone(seconds, rate, channels), rate, channels))
    assert decoded.rate == made
    assert decoded.layout == LAYOUTS[min(channels, FORMATS[format].channels)]
    late = PADDED_FRAMES * FRAME_OF_AAC / made if format in PADDED else 1.5 / min(made, rate)
    assert -1e-6 <= decoded.seconds - round(seconds * rate) / rate <= late
    assert hertz(decoded.samples, made) == pytest.approx(440, rel=0.01)
    assert loudness(decoded.samples) == pytest.approx(9000 / math.sqrt(2), rel=0.06)


@pytest.mark.parametrize(
    "format", [name for name in FORMATS if name not in WITHOUT_EXACT_DURATION]
)
def test_a_file_tells_its_duration(format: str) -> None:
    pcm = tone(3.25, 24000)
    decoded = Decoded(encoded(format, pieces(pcm, [960, 4800]), 24000))
    delay = OPUS_DELAY if format == "opus" else 0
    assert decoded.duration == pytest.approx(3.25 + delay, abs=1e-3)
    late = PADDED_FRAMES * LONGEST_FRAME_S if format in PADDED else 1e-4
    assert -1e-4 <= decoded.seconds - 3.25 <= late


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_pieces_make_the_same_file_as_the_whole(format: str, channels: int) -> None:
    pcm = tone(2.0, 22050, channels)
    expected = encode(format, pcm, 22050, channels)
    for sizes in ([1] * 50 + [9999], [3, 1, 7777], [64 << 10], [len(pcm)]):
        data = encoded(format, pieces(pcm, sizes), 22050, channels)
        if format == "opus":  # each has a serial number of its own
            assert len(data) == len(expected)
            assert Decoded(data).samples == Decoded(expected).samples
        else:
            assert data == expected


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_come_while_it_is_spoken(format: str) -> None:
    """What is written a second ago is out: an upload goes on while speech does."""
    encoder, second = Encoder(format, 24000), tone(1.0, 24000)
    out = [len(encoder.write(second)) for _ in range(20)]
    assert all(out[1:])
    assert max(out[2:]) < 3 * min(out[2:])
    tail, _ = encoder.finish()
    assert len(tail) <= 2 * max(out[2:])


@pytest.mark.parametrize("format", FORMATS)
def test_a_streamed_file_is_whole_without_its_patches(format: str) -> None:
    pcm = tone(3.25, 24000)
    data = streamed(format, pieces(pcm, [960, 4800]), 24000)
    if format == "pcm":
        assert data == pcm
        return
    late = PADDED_FRAMES * LONGEST_FRAME_S
    assert -1e-4 <= Decoded(data).seconds - 3.25 <= late


def test_a_container_that_is_patched_is_streamed_by_other_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patched = AudioFormat("m4a", "audio/mp4", "m4a", "ipod", "aac", 64_000)
    monkeypatch.setitem(FORMATS, "m4a", patched)
    with pytest.raises(av.error.InvalidDataError):
        Decoded(streamed("m4a", [tone(1.0, 24000)], 24000))
    options = {"movflags": "frag_keyframe+empty_moov"}
    monkeypatch.setitem(FORMATS, "m4a", replace(patched, stream_options=options))
    decoded = Decoded(streamed("m4a", [tone(1.0, 24000)], 24000))
    assert decoded.seconds == pytest.approx(1.0, abs=PADDED_FRAMES * LONGEST_FRAME_S)


def test_streamed_mp3s_one_after_another_are_one() -> None:
    """Clients write answers one after the other; OpenAI's are frames alone, and so are ours."""
    pcm = tone(0.5, 24_000)
    files = b""
    for _ in range(3):
        encoder = Encoder("mp3", 24_000, streamed=True)
        file = encoder.write(pcm)
        tail, patches = encoder.finish()
        file += tail
        assert patches == []
        assert file[0] == 0xFF
        assert not {b"Xing", b"Info", b"ID3"} & {file[at : at + 4] for at in range(200)}
        assert not file.startswith(b"ID3")
        files += file
    with av.open(io.BytesIO(files), "r") as container:
        frames = list(container.decode(audio=0))
    assert sum(frame.samples for frame in frames) == pytest.approx(3 * 12_000, abs=3 * 2 * 1152)


def test_wav_and_pcm_are_the_samples() -> None:
    pcm = tone(0.1, 24000)
    assert encode("wav", pcm, 24000, 2) == wav.encode(pcm, 24000, 2)
    assert encode("pcm", pcm, 24000) == pcm
    encoder = Encoder("wav", 24000)
    begun = encoder.write(pcm)
    assert bytes(wav.decode(begun).pcm) == pcm  # playable before its end is known
    assert encoder.finish() == (b"", [(0, wav.header(len(pcm), 24000))])


def test_flac_is_lossless_and_carries_its_digest() -> None:
    pcm = tone(1.0, 24000)
    data = encoded("flac", pieces(pcm, [5000]), 24000)
    assert Decoded(data).samples.tobytes() == pcm
    assert data[26:42] != bytes(16)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("pcm", [b"", b"\1", b"\1\0", tone(0.003, 24000)])
def test_next_to_nothing(format: str, pcm: bytes) -> None:
    data = encode(format, pcm, 24000)
    if len(pcm) > 2 and format != "pcm":
        assert Decoded(data).samples


@pytest.mark.parametrize("format", FORMATS)
def test_closing_half_way_and_twice(format: str) -> None:
    encoder = Encoder(format, 24000)
    encoder.write(tone(0.5, 24000))
    encoder.close()
    encoder.close()
    Encoder(format, 24000).close()


def test_formats() -> None:
    assert FORMATS["pcm"].media_type_at(24000) == "audio/pcm;rate=24000"
    assert FORMATS["opus"].media_type_at(24000) == "audio/ogg"
    assert {format.extension for format in FORMATS.values()} == set(FORMATS)
    for make in (Encoder, lambda format, rate: encode(format, b"", rate)):
        with pytest.raises(UnknownFormat, match="opus"):
            make("opsu", 24000)


@pytest.mark.parametrize("format", FORMATS)
def test_this_pyav_writes_every_format(format: str) -> None:
    check_format(format)


@pytest.mark.parametrize("lack", ["codec", "container"])
def test_a_format_without_codec_or_container_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    if lack == "codec":
        remove_codec(monkeypatch, "mp3")
    else:
        monkeypatch.setitem(FORMATS, "mp3", replace(FORMATS["mp3"], container="none_such"))
    for ask in (check_format, lambda format: Encoder(format, 24000)):
        with pytest.raises(MissingCodec, match=r"cannot write 'mp3'.*pip install") as missing:
            ask("mp3")
        assert (missing.value.code, missing.value.retryable) == ("missing_codec", False)
    check_format("flac")
    check_format("wav")
    with pytest.raises(UnknownFormat):
        check_format("opsu")


def test_no_more_than_two_channels() -> None:
    with pytest.raises(ValueError, match="6 channels"):
        Encoder("flac", 24000, 6)
    with pytest.raises(ValueError, match="6 channels"):
        Resampler(48000, 24000, 6)


def test_ffmpeg_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for format in FORMATS:
        encode(format, tone(0.5, 8000, 2), 8000, 2)
    with pytest.raises(av.error.InvalidDataError):
        Decoded(b"no audio" * 100)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (22050, 24000),
        (48000, 24000),
        (16000, 24000),
        (44100, 22050),
        (24000, 24000),
        (8000, 48000),
    ],
)
def test_resampling_keeps_time_and_pitch(source: int, target: int, channels: int) -> None:
    pcm = tone(2.0 + 13 / source, source, channels)
    whole = _resampled([pcm], source, target, channels)
    for sizes in ([1, 3, 4801], [960 * channels], [50_000]):
        assert _resampled(pieces(pcm, sizes), source, target, channels) == whole
    assert abs(len(whole) / target - (2.0 + 13 / source)) <= 1.5 / target
    assert hertz(whole, target) == pytest.approx(440, rel=0.01)
    assert loudness(whole) == pytest.approx(9000 / math.sqrt(2), rel=0.02)


def _resampled(parts: Iterable[bytes], source: int, target: int, channels: int) -> array[int]:
    resampler, samples = Resampler(source, target, channels), bytearray()
    for part in parts:
        samples += resampler.feed(part)
    samples += resampler.flush()
    return array("h", bytes(samples))


def test_the_same_rate_is_the_same_audio() -> None:
    pcm = tone(0.5, 24000)
    assert _resampled([pcm], 24000, 24000, 1).tobytes() == pcm


def test_two_channels_become_their_mean() -> None:
    stereo = array("h", [1000, 3000] * 2400).tobytes()
    assert set(_resampled([stereo], 24000, 24000, 2)) == {2000}


def test_flushing_what_was_never_fed() -> None:
    assert Resampler(22050, 24000).flush() == b""
