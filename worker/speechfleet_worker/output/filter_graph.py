"""Filters of FFmpeg over PCM that comes piece by piece."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

import av
import av.error
import av.filter

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.codecs import LAYOUTS

BLOCK_FRAMES = 1 << 14
"""Frames that go through the filters at once."""


class FilterGraph:
    """Filters one after the other, over s16le of one rate. For one thread at a time.

    ``filters``: (name, arguments) each, by FFmpeg's names.
    """

    def __init__(
        self, sample_rate: int, filters: Sequence[tuple[str, str]], *, channels: int = 1
    ) -> None:
        self._rate = sample_rate
        self._layout = LAYOUTS[channels]
        self._frame_bytes = channels * BYTES_PER_SAMPLE
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            sample_rate=sample_rate, format="s16", layout=self._layout
        )
        last = source
        format = f"sample_fmts=s16:sample_rates={sample_rate}:channel_layouts={self._layout}"
        for name, arguments in (*filters, ("aformat", format)):
            context = self._graph.add(name, arguments)
            last.link_to(context)
            last = context
        sink = self._graph.add("abuffersink")
        last.link_to(sink)
        self._graph.configure()
        self._position = 0

    def feed(self, pcm: bytes | memoryview) -> Iterator[av.AudioFrame]:
        """Yield the frames that whole samples bring out of the filters, maybe none yet."""
        step = BLOCK_FRAMES * self._frame_bytes
        view = memoryview(pcm)
        for start in range(0, len(view), step):
            self._graph.push(self._frame(view[start : start + step]))
            yield from self._pull()

    def flush(self) -> Iterator[av.AudioFrame]:
        """Yield the frames that the filters hold; ends the graph."""
        self._graph.push(None)
        yield from self._pull()

    def _frame(self, pcm: memoryview) -> av.AudioFrame:
        samples = len(pcm) // self._frame_bytes
        frame = av.AudioFrame(format="s16", layout=self._layout, samples=samples)
        frame.sample_rate = self._rate
        frame.pts = self._position
        self._position += samples
        plane = frame.planes[0]
        plane.update(bytes(pcm).ljust(plane.buffer_size, b"\0"))
        return frame

    def _pull(self) -> Iterator[av.AudioFrame]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            except av.error.FFmpegError as error:
                if error.errno == errno.EAGAIN:
                    return
                raise
            assert isinstance(frame, av.AudioFrame)
            yield frame


def pcm_of(frames: Iterator[av.AudioFrame]) -> bytes:
    """Return the samples of frames. A plane is longer than its samples."""
    return b"".join(
        bytes(f.planes[0])[: f.samples * BYTES_PER_SAMPLE * f.layout.nb_channels] for f in frames
    )
