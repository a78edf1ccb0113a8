"""One listener of one job: its audio as encoded bytes, and what becomes of the job without it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from speechfleet.audio import FORMATS, Encoder, Resampler
from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.gateway.failures import NoAudioYet, NotServed
from speechfleet.job import AsyncJob

log = logging.getLogger(__name__)

OPENAI_RATE = 24_000
"""Of raw PCM at ``/v1/audio/speech``, where nothing tells the rate."""
FIRST_PART = 4800
"""Bytes of PCM that are encoded at once until something came out of the codec."""
UNSERVED_FOR = 3.0
"""Seconds for which a provider may be without a worker before a listener is told."""
LOOK_EVERY = 1.0
REASON = "its listener left"


class Listeners:
    """Who listens to which job through this gateway."""

    def __init__(self) -> None:
        self._count: Counter[tuple[str, str]] = Counter()

    @asynccontextmanager
    async def listening(
        self, client: AsyncClient, job: AsyncJob, *, cancel: bool
    ) -> AsyncGenerator[None, None]:
        """``cancel``: the job was made for this listener; it is cancelled at the end if it has
        not ended by then and nobody else listens here."""
        key = (client.namespace, job.id)
        self._count[key] += 1
        try:
            yield
        finally:
            self._count[key] -= 1
            alone = not self._count[key]
            if alone:
                del self._count[key]
            if cancel and alone:
                await _cancel(job)


async def _cancel(job: AsyncJob) -> None:
    try:
        # Shielded: whoever leaves may be cancelled itself, and the job must still be.
        await asyncio.shield(asyncio.ensure_future(job.cancel(REASON)))
    except SpeechFleetError as error:
        log.warning("not cancelled: %s", error, extra={"job": job.id})


class Encoding:
    """A job's chunks as the bytes of one format, as they come.

    The header of what is still being made cannot tell its length. Codecs run in a thread.
    """

    def __init__(self, job: AsyncJob, format: str, rate: int | None = None) -> None:
        """``rate``: of the audio, else the job's own."""
        self._job = job
        self._format = format
        self._wanted = rate
        self._encoder: Encoder | None = None
        self._resampler: Resampler | None = None
        self._begun = not FORMATS[format].codec
        self.sample_rate = 0
        """Known with the first piece."""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Raises what `AsyncJob.stream` raises."""
        try:
            chunks = self._job.stream(accumulate=False, linear=True)
            async with aclosing(chunks):
                async for chunk in chunks:
                    for part in self._parts(chunk.delta):
                        if data := await self._run(self._encode, part, chunk.sample_rate):
                            self._begun = True
                            yield data
            if tail := await self._run(self._finish):
                yield tail
        finally:
            if self._encoder is not None:
                self._encoder.close()

    def _parts(self, pcm: bytes) -> Iterator[bytes]:
        """Nobody waits for a whole chunk to be encoded before hearing its beginning."""
        at = 0
        while at < len(pcm):
            end = len(pcm) if self._begun else at + FIRST_PART
            yield pcm[at:end]
            at = end

    def _encode(self, pcm: bytes, sample_rate: int) -> bytes:
        if self._encoder is None:
            self.sample_rate = self._wanted or sample_rate
            self._encoder = Encoder(self._format, self.sample_rate)
            if self.sample_rate != sample_rate:
                self._resampler = Resampler(sample_rate, self.sample_rate)
        return self._encoder.write(self._resampler.feed(pcm) if self._resampler else pcm)

    def _finish(self) -> bytes:
        if self._encoder is None:
            return b""
        rest = self._encoder.write(self._resampler.flush()) if self._resampler else b""
        return rest + self._encoder.finish()[0]

    async def _run(self, work: Callable[..., bytes], *arguments: Any) -> bytes:
        if not FORMATS[self._format].codec:
            return work(*arguments)
        working = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and its codec must not be closed while it works.
            await asyncio.wait([working])
            raise


async def first(
    pieces: AsyncGenerator[bytes, None], client: AsyncClient, job: AsyncJob, patience: float
) -> bytes:
    """The first piece; b"" where there is none.

    Raises what the job failed of; NotServed where no worker takes such jobs, NoAudioYet after
    ``patience`` seconds.
    """
    began = time.monotonic()
    waiting = asyncio.ensure_future(anext(pieces, b""))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=LOOK_EVERY)
            if done:
                return waiting.result()
            waited = time.monotonic() - began
            if waited > UNSERVED_FOR and (await job.status()).waiting == "no_worker":
                raise await _not_served(client, job)
            if waited > patience:
                raise NoAudioYet(f"no audio within {patience:g} s; job {job.id!r} tells more")
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def resumed(
    beginning: bytes, pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """All the pieces, of which the first one was looked at."""
    yield beginning
    async for piece in pieces:
        yield piece


async def _not_served(client: AsyncClient, job: AsyncJob) -> NotServed:
    model = (await job.status()).model
    provider = model.partition("/")[0]
    reasons = {one.providers.get(provider, "") for one in await client.workers()} - {""}
    why = f": {min(reasons)}" if reasons else ""
    return NotServed(f"no worker of this fleet serves {provider!r} now{why}")
