"""Follows a job and delivers its audio: to a file, stdout or a loudspeaker."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from speechfleet.audio import wav
from speechfleet.chunks import Chunk
from speechfleet.cli import output
from speechfleet.cli.playing import NoDevice, Player
from speechfleet.cli.targets import Target
from speechfleet.job import AsyncJob, AsyncSpeech
from speechfleet.names import encode

STREAMED = ("wav", "pcm")
"""Formats that can be made while the job runs; others are read from the store at its end."""


async def deliver(
    job: AsyncJob, target: Target, format: str, progress: output.Progress
) -> AsyncSpeech:
    """Follow a job to its end and deliver its audio to ``target``.

    ``format`` is the job's own; for stdout it may also be one of `STREAMED`. Raises JobFailed,
    JobCancelled; BrokenPipeError where nobody reads stdout any more, OSError of the file.
    """
    piped = target.stdout and format in STREAMED and _is_pipe()
    if piped or target.play or progress.seen:
        await _follow(job, target, format, progress, piped=piped)
    speech = await job.result()
    if target.path is not None:
        await speech.save(target.path)
    if target.stdout and not piped:
        _write_stdout(await _whole(job, speech, format))
    return speech


async def _follow(
    job: AsyncJob, target: Target, format: str, progress: output.Progress, *, piped: bool
) -> None:
    begun = False
    length = len((await job.record()).request.text)
    async with (
        _loudspeaker(job, target, format) as loudspeaker,
        aclosing(job.stream(accumulate=False, linear=True)) as chunks,
    ):
        async for chunk in chunks:
            if piped:
                if format == "wav" and chunk.delta and not begun:
                    _write_stdout(wav.header(wav.UNKNOWN_SIZE, chunk.sample_rate))
                begun = begun or bool(chunk.delta)
                _write_stdout(chunk.delta)
            loudspeaker.write(chunk)
            share = f", {chunk.text_end / length:.0%} of the text" if length else ""
            progress.update(f"{job.id}: {chunk.seconds:.1f} s of speech{share}")


class _Loudspeaker:
    """A loudspeaker that opens with the first audio; without a device, a file takes its place."""

    def __init__(self, job: AsyncJob, target: Target, format: str) -> None:
        self._target = target
        self._instead = Path(f"{encode(job.id)[:200]}.{format}")
        self.player: Player | None = None

    def write(self, chunk: Chunk) -> None:
        if not (self._target.play and chunk.delta):
            return
        try:
            self.player = self.player or Player(chunk.sample_rate)
            self.player.write(chunk.delta)
        except NoDevice as error:
            self._target.play = False
            if not self._target.stdout:
                self._target.path = self._target.path or self._instead
            output.tell(f"{error}: the speech goes to {self._target.path or 'stdout'} instead")


@asynccontextmanager
async def _loudspeaker(job: AsyncJob, target: Target, format: str) -> AsyncIterator[_Loudspeaker]:
    loudspeaker = _Loudspeaker(job, target, format)
    try:
        yield loudspeaker
        if loudspeaker.player is not None:
            await loudspeaker.player.drain()
    finally:
        if loudspeaker.player is not None:
            loudspeaker.player.close()


async def _whole(job: AsyncJob, speech: AsyncSpeech, format: str) -> bytes:
    """Return the audio in the job's own format, or any job's as PCM or WAV."""
    if format == (await job.record()).request.format:
        return await speech.read()
    pcm = b""
    async with aclosing(job.stream()) as chunks:
        async for chunk in chunks:
            pcm = bytes(chunk.audio) if chunk.is_last else pcm
    return pcm if format == "pcm" else wav.encode(pcm, speech.sample_rate)


def _is_pipe() -> bool:
    """Tell if stdout is no regular file: a pipe gets audio at once, a file a whole header."""
    return not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


def _write_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
