"""Following a job and putting its audio where it was asked for."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from speechfleet import keys, wav
from speechfleet.chunks import Chunk
from speechfleet.cli import output
from speechfleet.cli.playing import NoDevice, Player
from speechfleet.cli.targets import Target, write_file
from speechfleet.job import AsyncJob, Speech

STREAMED = ("wav", "pcm")
"""Formats that are made from the chunk stream as it comes; others when they are stored."""


async def deliver(job: AsyncJob, target: Target, format: str, progress: output.Progress) -> Speech:
    """Follow a job to its end; its audio is then where ``target`` says.

    ``format`` is the job's own; for stdout it may also be one of `STREAMED`. Raises JobFailed,
    JobCancelled; BrokenPipeError where nobody reads stdout any more, OSError of the file.
    """
    piped = target.stdout and format in STREAMED and _is_pipe()
    if piped or target.play or progress.seen:
        await _follow(job, target, format, progress, piped=piped)
    speech = await job.result()
    if target.path is not None:
        write_file(target.path, await speech.read())
    if target.stdout and not piped:
        _write_stdout(await _whole(job, speech, format))
    return speech


async def _follow(
    job: AsyncJob, target: Target, format: str, progress: output.Progress, *, piped: bool
) -> None:
    begun = False
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
            progress.update(f"{job.id}: {chunk.seconds:.1f} s of speech")


class _Loudspeaker:
    """Opened when the sample rate is known; where there is none, a file takes its place."""

    def __init__(self, job: AsyncJob, target: Target, format: str) -> None:
        self._target = target
        self._instead = Path(f"{keys.encode(job.id)[:200]}.{format}")
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


async def _whole(job: AsyncJob, speech: Speech, format: str) -> bytes:
    """The audio in the job's own format, or of any job as PCM or WAV."""
    if format == (await job.record()).request.format:
        return await speech.read()
    pcm = b""
    async with aclosing(job.stream()) as chunks:
        async for chunk in chunks:
            pcm = bytes(chunk.audio) if chunk.is_last else pcm
    return pcm if format == "pcm" else wav.encode(pcm, speech.sample_rate)


def _is_pipe() -> bool:
    """A file is given the whole object, whose header tells its length; a pipe gets it at once."""
    return not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


def _write_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
