"""Encode and resample audio, while speech still comes.

All of it is CPU work (mp3 and opus some 80 times as fast as the speech, wav and flac 1000
times). On an event loop use `EncoderTask`, which works in threads and may be left at any
moment. `Encoder` and `Resampler` are plain objects for one thread.
PCM is s16le throughout, channels interleaved. It needs PyAV, so the extra ``worker`` or
``gateway``: nothing else of this package imports it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import av
import av.logging
from av.audio.stream import AudioStream

from speechfleet.audio import wav
from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.codec_threads import CodecSteps
from speechfleet.audio.formats import FORMATS, AudioFormat
from speechfleet.errors import MissingCodec, UnknownFormat

av.logging.set_level(None)  # FFmpeg's remarks on stderr are no log lines of ours

Patch = tuple[int, bytes]
"""Bytes to be written over the beginning of what was encoded: (offset, data)."""

BLOCK_FRAMES = 1 << 14
"""Frames of PCM that are encoded in one go, so that long PCM is not copied whole."""
STEP_BYTES = 64 << 10
"""Bytes of PCM that a thread encodes before it is another tenant's turn."""
LAYOUTS = {1: "mono", 2: "stereo"}


class Encoder:
    """Encode one file incrementally: memory does not grow with its length.

    `write` any number of times, then `finish` once; or `close` where nobody wants the rest.
    The header of some formats holds values that are known only at the end (sizes, the number
    of samples, a digest). `finish` returns them as patches of the first 64 KiB. A patched file
    tells its exact duration, with two exceptions:

    - aac: ADTS has no header, so players estimate the duration. Decoding gives up to 3 frames of
      1024 samples more.
    - opus: players that count the codec's delay show 6.5 ms more. The decoded audio is exact.

    Without any audio, mp3, opus and aac files are empty, and not valid.
    """

    def __init__(
        self, format: str, sample_rate: int, channels: int = 1, *, streamed: bool = False
    ) -> None:
        """``streamed``: the file is sent as it is made, so it cannot be patched."""
        kind = _format(format)
        # A codec takes a block at a time; plain bytes pass as they come.
        self._frames = _WholeFrames(channels, BLOCK_FRAMES if kind.codec else None)
        self._lock = threading.Lock()
        """Held while the codec works: closing it under a thread would end the process."""
        if kind.codec:
            options = {**kind.options, **kind.stream_options} if streamed else kind.options
            self._writer: _Writer = _AvWriter(kind, sample_rate, channels, options)
        else:
            self._writer = _PlainWriter(kind, sample_rate, channels)

    def write(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """Return the next bytes of the file, maybe none yet. ``pcm`` need not be whole frames."""
        with self._lock:
            return b"".join([self._writer.write(piece) for piece in self._frames.of(pcm)])

    def finish(self) -> tuple[bytes, list[Patch]]:
        """Return the last bytes, and what to write over earlier ones."""
        with self._lock:
            return self._writer.finish()

    def close(self) -> None:
        """Release the codec, once no other thread works in it; idempotent."""
        with self._lock:
            self._writer.close()


class EncoderTask:
    """Encode on behalf of an event loop: codecs work in threads, one step at a time.

    Leave it at any moment, in the middle of a step as well: `close` queues the release of the
    codec behind the step that runs. After a step that raised or was cancelled it is closed.
    ``source_rate``: of the PCM, where it is not ``sample_rate``. ``tenant``: on whose behalf;
    tenants take turns. `Encoder` tells what comes out.
    """

    def __init__(
        self,
        format: str,
        sample_rate: int,
        *,
        source_rate: int | None = None,
        channels: int = 1,
        tenant: str = "",
        streamed: bool = False,
    ) -> None:
        self._encoder = Encoder(format, sample_rate, channels, streamed=streamed)
        self._resampler: Resampler | None = None
        if source_rate is not None and source_rate != sample_rate:
            self._resampler = Resampler(source_rate, sample_rate, channels)
        self._patches: list[Patch] = []
        self._steps = CodecSteps(self._encoder.close, tenant)
        # Plain bytes are passed on: a way into a thread and back costs more than that.
        self._is_threaded = bool(FORMATS[format].codec) or self._resampler is not None

    async def feed(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """Return the next bytes of the file, maybe none yet. ``pcm`` need not be whole frames."""
        view = memoryview(pcm)
        if not self._is_threaded:
            return self._write(view)
        steps = range(0, len(view), STEP_BYTES)
        return b"".join([await self._run(self._write, view[at : at + STEP_BYTES]) for at in steps])

    async def finish(self) -> tuple[bytes, list[Patch]]:
        """Return the last bytes, and what to write over earlier ones; the codec is released."""
        tail = await self._run(self._finish)
        self.close()
        return tail, self._patches

    def close(self) -> None:
        """Release the codec as soon as no thread works in it; idempotent, never waits."""
        self._steps.close()

    async def aclose(self) -> None:
        """Release the codec and wait for that; cancelling the wait does no harm."""
        self.close()
        await asyncio.shield(asyncio.wrap_future(self._steps.released))

    async def _run(self, work: Callable[..., bytes], *arguments: memoryview) -> bytes:
        if not self._is_threaded:
            return work(*arguments)
        try:
            return await asyncio.wrap_future(self._steps.submit(lambda: work(*arguments)))
        except BaseException:
            self.close()
            raise

    def _write(self, pcm: memoryview) -> bytes:
        return self._encoder.write(self._resampler.feed(pcm) if self._resampler else pcm)

    def _finish(self) -> bytes:
        rest = self._encoder.write(self._resampler.flush()) if self._resampler else b""
        tail, self._patches = self._encoder.finish()
        return rest + tail


def encode(
    format: str, pcm: bytes | bytearray | memoryview, sample_rate: int, channels: int = 1
) -> bytes:
    """Encode a whole file, for audio that fits in memory."""
    encoder = Encoder(format, sample_rate, channels)
    data = bytearray(encoder.write(pcm))
    tail, patches = encoder.finish()
    data += tail
    for offset, patch in patches:
        data[offset : offset + len(patch)] = patch
    return bytes(data)


def check_format(name: str) -> None:
    """Raise MissingCodec where this process cannot write a format, UnknownFormat for no format.

    Ask before speech is paid for that could not be written.
    """
    if (format := _format(name)).codec:
        _codec(format)


class Resampler:
    """Resample PCM to mono of another rate; channels become their mean.

    What `feed` and `flush` give together lasts as long as what was fed, to within a sample.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int = 1) -> None:
        self._frames = _WholeFrames(channels, BLOCK_FRAMES)
        self._shape = (source_rate, channels)
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=target_rate)

    def feed(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """Return the next bytes at the target rate; ``pcm`` need not be whole frames."""
        return b"".join([self._resampled(piece) for piece in self._frames.of(pcm)])

    def flush(self) -> bytes:
        """Return the bytes held back; ends the resampler."""
        return self._resampled(None)

    def _resampled(self, pcm: memoryview | None) -> bytes:
        frame = None if pcm is None else _av_frame(pcm, *self._shape)
        made = self._resampler.resample(frame)
        # A plane is longer than its samples.
        return b"".join(bytes(f.planes[0])[: f.samples * BYTES_PER_SAMPLE] for f in made)


class _WholeFrames:
    """Carry the rest of a frame over to the next piece.

    ``block``: frames of a piece that comes out; None for any number.
    """

    def __init__(self, channels: int, block: int | None) -> None:
        if channels not in LAYOUTS:
            raise ValueError(f"audio of {channels} channels; mono and stereo are taken")
        self._width = channels * BYTES_PER_SAMPLE
        self._block = block
        self._carry = b""

    def of(self, pcm: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """Yield complete frames, at most a block at a time."""
        data = memoryview(self._carry + pcm if self._carry else pcm)
        end = len(data) - len(data) % self._width
        self._carry = bytes(data[end:])
        step = self._block * self._width if self._block else max(1, end)
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

    def write(self, pcm: memoryview) -> bytes | memoryview:
        self._size += len(pcm)
        beginning = self._beginning()
        return beginning + pcm if beginning else pcm

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

    def __init__(
        self, format: AudioFormat, sample_rate: int, channels: int, options: Mapping[str, str]
    ) -> None:
        rate = format.rate_for(sample_rate, _codec(format).audio_rates)
        encoded_channels = channels if channels <= format.channels else 1
        self._shape = (sample_rate, channels)
        self._samples = 0
        self._sink = _Sink()
        self._container = av.open(self._sink, "w", format=format.container, options=dict(options))
        stream = self._container.add_stream(
            format.codec, rate=rate, layout=LAYOUTS[encoded_channels]
        )
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._stream.codec_context.thread_count = 1
        if format.bit_rate:
            self._stream.bit_rate = format.bit_rate_for(rate, encoded_channels)
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
    """The file that FFmpeg writes; where it goes back to bytes that were taken, a patch."""

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


def _codec(format: AudioFormat) -> av.Codec:
    """Look up the codec of a format, and its container. Raises MissingCodec."""
    try:
        av.ContainerFormat(format.container, "w")
        return av.Codec(format.codec, "w")
    except ValueError:  # PyAV's error for a name that its FFmpeg does not know
        raise MissingCodec(
            f"cannot write {format.name!r}: the installed PyAV lacks FFmpeg's codec "
            f"{format.codec!r} or its container {format.container!r}. Install a PyAV that has "
            "both (pip install --force-reinstall --only-binary av av), or ask for another format; "
            "wav needs no codec"
        ) from None


def _format(name: str) -> AudioFormat:
    if name not in FORMATS:
        raise UnknownFormat(name, FORMATS)
    return FORMATS[name]
