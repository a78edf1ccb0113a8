"""A session: a job whose text is written while it is spoken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from types import TracebackType
from typing import Self

from speechfleet.chunks import Chunk
from speechfleet.context import Context
from speechfleet.errors import (
    Conflict,
    InvalidRequest,
    JobNotFound,
    NoCapacity,
    SpeechFleetError,
    TextComplete,
    TextDiverged,
)
from speechfleet.job import AsyncJob, AsyncSpeech
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.loop_owner import LoopOwner
from speechfleet.lifecycle import State
from speechfleet.reader import raise_unless_succeeded
from speechfleet.received_audio import SessionAudio
from speechfleet.request import Request, check_text
from speechfleet.tts import Msg
from speechfleet.waiting import outlast

OPEN_TIMEOUT = 10.0
"""Seconds that `open` waits for a worker with room."""
OPENING_POLL_INTERVAL_S = 0.25
"""Between looks at the record while a worker is awaited: its message may be missed."""
SIGNS_OF_LIFE = 3
"""Sent within the time after which a client counts as vanished."""


class AsyncSession:
    """A text that is spoken while it is written; an async context manager.

    Entering waits for a worker, which holds the session from then on. Leaving without
    `synthesize` cancels it. Others may follow it by its id, like any job. While Redis is away
    its calls wait, for ``SPEECHFLEET_REDIS_PATIENCE`` seconds.
    """

    def __init__(
        self,
        context: Context,
        id: str,
        request: Request,
        *,
        resume: bool = False,
        open_timeout: float = OPEN_TIMEOUT,
        linear: bool = False,
        sample_rate: int | None = None,
        first_audio_timeout: float | None = None,
    ) -> None:
        """Use `AsyncClient.session`."""
        self._context = context
        self._text = _PushedText(context, id, request)
        self._resume = resume
        self._open_timeout = open_timeout
        self._tasks: list[asyncio.Task[None]] = []
        self._owner = LoopOwner()
        self.id = id
        self.job = AsyncJob(context, id)
        """The session as the job that it is: status, record, cancel, and the stream."""
        self._audio = SessionAudio(self.job, linear, sample_rate, first_audio_timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def text(self) -> str:
        """All that was pushed."""
        return self._text.request.text

    # --- opening and leaving ----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Wait for a worker that takes the session.

        Raises NoCapacity, Conflict (the id is taken), JobNotFound (nothing to resume).
        """
        self._check_loop()
        opened = self._context.ledger.streams.channels.listen(
            JobKeys(self._context.namespace, self.id).opened
        )
        async with opened as message:
            await (self._text.take_up(self.job) if self._resume else self._text.submit())
            try:
                async with asyncio.timeout(self._open_timeout):
                    await self._text.wait_for_worker(self.job, message)
            except TimeoutError:
                if not self._resume:
                    await self.job.cancel("no worker took it in time")
                raise _no_capacity(self.id, self._open_timeout) from None
            except BaseException:
                if not self._resume:
                    await self.job.cancel("its client gave up")
                raise
        self._tasks = [*self._audio.start(), asyncio.create_task(self._text.send_signs())]

    def _check_loop(self) -> None:
        if self._owner.moved(self._tasks):
            raise InvalidRequest(
                f"session {self.id!r} was opened on another event loop, or before a fork: go on "
                "with it here by session(id=..., resume=True)",
                code="wrong_loop",
            )

    async def close(self) -> None:
        """Cancel it, unless its text was completed. Idempotent."""
        if await self.leave() and not self._text.complete:
            with contextlib.suppress(JobNotFound):
                await self.job.cancel("closed by its client")

    async def leave(self) -> bool:
        """Stop here without cancelling it; False where it was not open.

        If nobody resumes it, it ends after ``SPEECHFLEET_SESSION_VANISHED`` seconds.
        """
        tasks, self._tasks = self._tasks, []
        await _end(tasks)
        if tasks:
            self._audio.silence()
        return bool(tasks)

    # --- text in ----------------------------------------------------------------------------

    async def push(self, text: Msg | str) -> Chunk:
        """Send the text so far (accumulated), and return at once with the audio so far.

        The chunk's ``audio`` is all of it, perhaps nothing; its ``delta`` what came since the
        last push. Text that was pushed before is no error, whoever pushed it. Raises
        TextDiverged, TextComplete, TextTooLong, IllegalText, and what ended the session.
        """
        self._check_loop()
        text = text.text() if isinstance(text, Msg) else text
        self._audio.raise_failure()
        if len(text) > len(self.text):
            try:
                await self._text.extend(text)
            except TextComplete:
                await _raise_if_failed(self.job)
                raise
            self._audio.text_was_sent()
        elif not self.text.startswith(text):
            raise TextDiverged(self.text, text)
        else:
            await asyncio.sleep(0)  # a loop that only asks for audio must let it arrive
        return self._audio.since_last_push()

    async def say(self, delta: str) -> Chunk:
        """Send text that continues what was pushed; otherwise as `push`."""
        return await self.push(self.text + delta)

    # --- audio out --------------------------------------------------------------------------

    async def synthesize(self, text: Msg | str | None = None) -> AsyncGenerator[Chunk, None]:
        """Complete the text, and yield accumulated chunks from the first byte to the end.

        ``text``: all of it once more, if there is any that was not pushed. A text with nothing
        in it gives one empty chunk. Raises JobFailed, JobCancelled, and as `push` does.
        """
        await self.complete(text)
        if not self.text.strip():
            yield self._audio.nothing()
            return
        async for chunk in self._audio.chunks():
            yield chunk

    async def listen(self) -> AsyncGenerator[Chunk, None]:
        """Yield accumulated chunks from the first byte on, while text is still being written.

        Ends after the last chunk, or quietly at this session's own `interrupt` or `close`, or
        for a text with nothing in it. Any number may listen. Raises JobFailed, JobCancelled
        (by somebody else), FirstAudioTimeout.
        """
        self._check_loop()
        async for chunk in self._audio.chunks(until_silenced=True):
            yield chunk

    async def complete(self, text: Msg | str | None = None) -> None:
        """End the text: from here on the session is a job like any other. Idempotent."""
        self._check_loop()
        if text is not None:
            await self.push(text)
        if self._text.complete:
            return
        if self.text.strip():
            await self._text.finish()
        else:
            self._text.close()
            self._audio.silence()
            await self.job.cancel("nothing to say")

    async def result(self, timeout: float | None = None) -> AsyncSpeech:
        """Wait for the stored speech, once the text is complete; as `AsyncJob.result`."""
        return await self.job.result(timeout)

    def heard(self, offset: int) -> int:
        """Return how much of the text the audio before byte ``offset`` has spoken.

        In code points of the text: up to the last word of which half was heard; inside a
        segment whose words are not known, in proportion.
        """
        return self._audio.heard(offset)

    async def interrupt(self, played: int | None = None) -> int:
        """Stop at once (barge-in); return the code points of the text that were heard.

        ``played``: bytes of the audio that the listener heard, see `heard`; else what was
        published counts. `listen` ends before this returns.
        """
        self._audio.silence()
        heard = (await self.job.record()).text_end if played is None else self.heard(played)
        await self._context.ledger.jobs.cancel(
            self._context.namespace, self.id, "interrupted by a client", heard
        )
        self._text.close()
        return heard


def _no_capacity(id: str, timeout: float) -> NoCapacity:
    return NoCapacity(
        f"no worker took session {id!r} within {timeout:g} s: all that take sessions are full, or "
        "there is none (speechfleet worker --lanes session)"
    )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _raise_if_failed(job: AsyncJob) -> None:
    """Raise the error that a session failed with, if its listener has not heard it yet."""
    record = await job.record()
    if record.state is State.FAILED:
        raise_unless_succeeded(record)


class _PushedText:
    """The text as its client knows it, and how much of it the server is known to hold."""

    def __init__(self, context: Context, id: str, request: Request) -> None:
        self._context = context
        self._id = id
        self.request = request
        self._known = 0

    @property
    def complete(self) -> bool:
        return not self.request.open

    async def submit(self) -> None:
        """Submit the session. Raises Conflict where its id is taken."""
        jobs, namespace = self._context.ledger.jobs, self._context.namespace
        submitted = await jobs.submit(namespace, self._id, self.request)
        if not submitted.new:
            raise Conflict(
                f"session {self._id!r} is there already ({submitted.state}): take another id, or "
                "resume=True to go on with it"
            )

    async def take_up(self, job: AsyncJob) -> None:
        """Take the text of a session that exists. Raises Conflict, JobNotFound."""
        record = await job.record()
        if record.request.digest != self.request.digest:
            raise Conflict(f"session {self._id!r} speaks with another model, voice or option")
        self.request = record.request

    async def wait_for_worker(self, job: AsyncJob, opened: asyncio.Queue[bytes]) -> None:
        """Return once a worker holds the session; ``opened`` hears of it."""
        patience_s = self._context.settings.redis_patience
        while (await outlast(patience_s, job.record)).state is State.QUEUED:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(opened.get(), OPENING_POLL_INTERVAL_S)

    async def extend(self, text: str) -> None:
        """Send a longer text. Raises TextDiverged, TextComplete, and changes nothing then."""
        before = self.request
        if not text.startswith(before.text):
            raise TextDiverged(before.text, text)
        check_text(text, self._context.settings.session_text, "SPEECHFLEET_SESSION_TEXT")
        self.request = replace(before, text=text)
        try:
            await self.send()
        except (TextDiverged, TextComplete):  # somebody else's text is there
            self.request = before
            raise

    async def finish(self) -> None:
        await self.send(complete=True)
        self.close()

    def close(self) -> None:
        """Note that there is nothing more to send."""
        self.request = replace(self.request, open=False)

    async def send_signs(self) -> None:
        """Show that the client lives, though it may write nothing for a while."""
        while not self.complete:
            await asyncio.sleep(self._context.settings.session_vanished / SIGNS_OF_LIFE)
            with contextlib.suppress(SpeechFleetError):
                await self.send(only_sign=True)

    async def send(self, *, complete: bool = False, only_sign: bool = False) -> None:
        """Send what the server does not hold yet, waiting for a Redis that is away.

        A record that Redis lost is written again. ``only_sign``: nothing new, only that the
        client lives.
        """
        text = self.request.text[: self._known] if only_sign else self.request.text
        await outlast(
            self._context.settings.redis_patience, lambda: self._send(text, complete=complete)
        )
        self._known = max(self._known, len(text))

    async def _send(self, text: str, *, complete: bool) -> None:
        jobs, namespace = self._context.ledger.jobs, self._context.namespace
        try:
            await jobs.push(namespace, self._id, text, self._known, complete=complete)
        except JobNotFound:
            await jobs.submit(namespace, self._id, self.request, "again")
            await jobs.push(namespace, self._id, text, complete=complete)
