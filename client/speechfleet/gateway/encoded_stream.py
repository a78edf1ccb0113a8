"""A job's audio as the bytes of one format, encoded while it is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.codecs import EncoderTask
from speechfleet.audio.formats import FORMATS
from speechfleet.client import AsyncClient
from speechfleet.gateway.errors import NoAudioYet, NotServed
from speechfleet.job import AsyncJob

OPENAI_RATE = 24_000
"""The sample rate of raw PCM at ``/v1/audio/speech``, where nothing tells the rate."""
FIRST_PART_BYTES = 4800
"""PCM that is encoded at once until the codec has given its first bytes."""
UNSERVED_TIMEOUT_S = 3.0
"""Seconds for which a provider may be without a worker before the listener is told."""
POLL_INTERVAL_S = 1.0
SILENCE_S = 0.2


class EncodedStream:
    """Encode the chunks of a job as they come.

    The length is not known before the end, so the file's header cannot tell it.
    """

    def __init__(
        self, job: AsyncJob, format: str, rate: int | None = None, tenant: str = ""
    ) -> None:
        """``rate``: the sample rate; None: the job's own. ``tenant``: tenants encode in turn."""
        self._job = job
        self._format = format
        self._rate = rate
        self._tenant = tenant
        self._encoder: EncoderTask | None = None
        self._has_output = not FORMATS[format].codec
        self.sample_rate = 0
        """The sample rate of the output, known with the first piece."""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the file in pieces. Raises what `AsyncJob.stream` raises."""
        try:
            chunks = self._job.stream(accumulate=False, linear=True)
            async with aclosing(chunks):
                async for chunk in chunks:
                    for part in self._parts(chunk.delta):
                        if data := await self._encoder_at(chunk.sample_rate).feed(part):
                            self._has_output = True
                            yield data
            if self._encoder is not None:
                tail, _ = await self._encoder.finish()
                if tail:
                    yield tail
        finally:
            if self._encoder is not None:
                self._encoder.close()

    def _parts(self, pcm: bytes) -> Iterator[bytes]:
        """Split PCM so that the first output need not wait for a whole chunk."""
        start = 0
        while start < len(pcm):
            end = len(pcm) if self._has_output else start + FIRST_PART_BYTES
            yield pcm[start:end]
            start = end

    def _encoder_at(self, sample_rate: int) -> EncoderTask:
        if self._encoder is None:
            self.sample_rate = self._rate or sample_rate
            self._encoder = EncoderTask(
                self._format,
                self.sample_rate,
                source_rate=sample_rate,
                tenant=self._tenant,
                streamed=True,
            )
        return self._encoder


async def silence(format: str) -> bytes:
    """Return a whole file of a moment without sound."""
    encoder = EncoderTask(format, OPENAI_RATE, streamed=True)
    beginning = await encoder.feed(bytes(int(BYTES_PER_SAMPLE * OPENAI_RATE * SILENCE_S)))
    tail, _ = await encoder.finish()
    return beginning + tail


async def first_piece(
    pieces: AsyncGenerator[bytes, None], client: AsyncClient, job: AsyncJob, patience: float
) -> bytes:
    """Return the first piece; b"" where there is none.

    Raises the job's failure, NotServed where no worker takes such jobs, and NoAudioYet after
    ``patience`` seconds.
    """
    began = time.monotonic()
    coming = asyncio.ensure_future(anext(pieces, b""))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=POLL_INTERVAL_S)
            if done:
                return coming.result()
            waited = time.monotonic() - began
            if waited > UNSERVED_TIMEOUT_S and (await job.status()).waiting == "no_worker":
                raise await _not_served(client, job)
            if waited > patience:
                raise NoAudioYet(f"no audio within {patience:g} s; see job {job.id!r}")
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def chained(
    beginning: bytes, pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the piece that was taken already, then the others."""
    yield beginning
    async for piece in pieces:
        yield piece


async def _not_served(client: AsyncClient, job: AsyncJob) -> NotServed:
    model = (await job.status()).model
    provider = model.partition("/")[0]
    reasons = {worker.providers.get(provider, "") for worker in await client.workers()} - {""}
    reason = f": {min(reasons)}" if reasons else ""
    return NotServed(f"no worker of this fleet serves {provider!r} now{reason}")
