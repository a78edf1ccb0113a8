"""A model and a voice of the fleet, as a framework holds them: texts in, audio and words out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.chunks import Chunk
from speechfleet.client import AsyncClient
from speechfleet.errors import EmptyText, SpeechFleetError, TextComplete
from speechfleet.integrations.word_times import TimedText, WordTimes
from speechfleet.loop_client import shared_client
from speechfleet.session import AsyncSession
from speechfleet.settings import settings

with contextlib.suppress(ImportError):
    import numpy  # noqa: F401  # by the first audio that is resampled it would be too late

STOP_TIMEOUT_S = 2.0
"""Seconds that stopping a speech may take; a session whose client is silent ends by itself."""
SILENCE_S = 0.02
"""Given for a text in which there is nothing to speak, such as "...": no audio is an error."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spoken:
    """New audio (s16le, mono, whole frames), and the words that became known with it.

    ``offset``: seconds of audio before it. Words may be known later than their audio.
    """

    audio: bytes
    offset: float
    words: tuple[TimedText, ...]


class FleetVoice:
    """Speaks with one model and voice, at one sample rate.

    Without ``client`` it uses the one that all code on the running event loop shares.
    ``keywords``: those that `AsyncClient.submit` and `AsyncClient.session` both take.
    """

    def __init__(self, client: AsyncClient | None, sample_rate: int, **keywords: Any) -> None:
        self._client = client
        self.sample_rate = sample_rate
        self.keywords = keywords

    @property
    def model(self) -> str:
        """The model that speaks, as ``provider/model``."""
        return str(self.keywords.get("model") or settings().default_model)

    async def connect(self) -> AsyncClient:
        """Return the client, connected; calling it early spares the first text the wait.

        Raises FleetUnavailable, MisconfiguredError.
        """
        return self._client or await shared_client()

    def speak_live(
        self, texts: AsyncIterator[str], *, id: str, timeout: float
    ) -> AsyncGenerator[Spoken, None]:
        """Speak the pieces of one text while they come, as one session; nothing if all are empty.

        White space before the first word is left out; a text without a word gives a short
        silence. ``timeout``: seconds from the latest piece to the first audio. A consumer that
        leaves stops the speech at once. Raises as `AsyncSession.open` and `AsyncSession.listen`
        do, and for a text that cannot be spoken.
        """
        return self._or_silence(self._session_of(texts, id=id, timeout=timeout))

    def speak_text(self, text: str, *, id: str, timeout: float) -> AsyncGenerator[Spoken, None]:
        """Speak a whole text, as one job; otherwise as `speak_live`. Raises as `submit` does."""
        return self._or_silence(self._job_of(text, id=id, timeout=timeout))

    async def _or_silence(
        self, spoken: AsyncGenerator[Spoken, None]
    ) -> AsyncGenerator[Spoken, None]:
        """Yield the same, and a short silence for a text with marks and no word in it."""
        try:
            async with aclosing(spoken) as parts:
                async for part in parts:
                    yield part
        except SpeechFleetError as error:
            if error.code != EmptyText.code:
                raise
            yield Spoken(bytes(int(BYTES_PER_SAMPLE * self.sample_rate * SILENCE_S)), 0.0, ())

    async def _session_of(
        self, texts: AsyncIterator[str], *, id: str, timeout: float
    ) -> AsyncGenerator[Spoken, None]:
        first = await _first_words(texts)
        if not first:
            return
        client = await self.connect()
        session = client.session(
            id=id,
            linear=True,
            sample_rate=self.sample_rate,
            open_timeout=timeout,
            first_audio_timeout=timeout,
            **self.keywords,
        )
        await session.open()
        writing = asyncio.create_task(_write(session, first, texts))
        words, ended = WordTimes(), False
        try:
            async with aclosing(session.listen()) as chunks:
                async for chunk in chunks:
                    ended = chunk.is_last
                    yield _spoken(chunk, words, session.text, self.sample_rate)
            if not ended:  # the text was refused
                await writing
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await _stop(session, heard=ended)

    async def _job_of(self, text: str, *, id: str, timeout: float) -> AsyncGenerator[Spoken, None]:
        if not text.strip():
            return
        client = await self.connect()
        job = await client.submit(text, id=id, **self.keywords)
        words, ended = WordTimes(), False
        stream = job.stream(linear=True, sample_rate=self.sample_rate, first_audio_timeout=timeout)
        try:
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    ended = chunk.is_last
                    yield _spoken(chunk, words, text, self.sample_rate)
        finally:
            if not ended:
                with contextlib.suppress(SpeechFleetError, TimeoutError):
                    async with asyncio.timeout(STOP_TIMEOUT_S):
                        await job.cancel("its listener has left")


def _spoken(chunk: Chunk, words: WordTimes, text: str, sample_rate: int) -> Spoken:
    offset = chunk.offset / (BYTES_PER_SAMPLE * sample_rate)
    return Spoken(chunk.delta, offset, tuple(words.take(chunk, text)))


async def _first_words(texts: AsyncIterator[str]) -> str:
    """Return what came until the first word, without white space before it; "" at the end."""
    async for text in texts:
        if words := text.lstrip():
            return words
    return ""


async def _write(session: AsyncSession, first: str, texts: AsyncIterator[str]) -> None:
    """Push the pieces as they come, and complete the text.

    A text that is refused ends the session, and so whoever listens to it.
    """
    try:
        await session.say(first)
        async for text in texts:
            if text:
                await session.say(text)
        await session.complete()
    except TextComplete:
        return  # the session has ended; its listener hears why
    except SpeechFleetError:
        await _stop(session)
        raise


async def _stop(session: AsyncSession, *, heard: bool = False) -> None:
    """Close a session; stop it before, unless all of it was heard. Never raises."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            if not heard:
                await session.interrupt()
            await session.close()
    except (SpeechFleetError, TimeoutError) as error:
        log.warning("session %r was not stopped, and ends by itself: %s", session.id, error)
