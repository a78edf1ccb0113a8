"""A session: a job whose text is written while it is spoken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from speechfleet.chunks import Chunk
from speechfleet.errors import (
    Conflict,
    JobNotFound,
    NoCapacity,
    SpeechFleetError,
    TextComplete,
    TextDiverged,
)
from speechfleet.job import AsyncJob, Speech
from speechfleet.jobs import Request, Segment, State, check_text
from speechfleet.keys import JobKeys
from speechfleet.tts import AudioBuffer, Msg

if TYPE_CHECKING:
    from speechfleet.client import AsyncClient

OPEN_TIMEOUT = 10.0
"""Seconds that `open` waits for a worker with room."""
LOOK_EVERY = 0.25
"""Seconds between looks at the record while a worker is awaited: its word may go unheard."""
SIGNS = 3
"""Signs of life within the time after which a client counts as vanished."""


class AsyncSession:
    """Text in, audio out, at the same time; use it as an async context manager.

    Entering waits for a worker, which holds the session from then on. Leaving without
    `synthesize` cancels it. Others may follow it by its id, as any job.
    """

    def __init__(
        self,
        client: AsyncClient,
        id: str,
        request: Request,
        *,
        resume: bool = False,
        open_timeout: float = OPEN_TIMEOUT,
        linear: bool = False,
    ) -> None:
        """Use `AsyncClient.session`."""
        self._client = client
        self._written = _Written(client, id, request)
        self._resume = resume
        self._open_timeout = open_timeout
        self._linear = linear
        self._tasks: list[asyncio.Task[None]] = []
        self._heard = _Heard()
        self.id = id
        self.job = AsyncJob(client, id)
        """The session as the job that it is: status, record, cancel, and the stream."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def text(self) -> str:
        """All that was pushed."""
        return self._written.request.text

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
        """Raises NoCapacity, Conflict (the id is taken), JobNotFound (nothing to resume)."""
        opened = self._client.hub.channels.listen(JobKeys(self._client.namespace, self.id).opened)
        async with opened as word:
            await (self._take_up() if self._resume else self._submit())
            try:
                async with asyncio.timeout(self._open_timeout):
                    await self._held(word)
            except TimeoutError:
                if not self._resume:
                    await self.job.cancel("no worker took it in time")
                raise NoCapacity(
                    f"no worker took session {self.id!r} within {self._open_timeout:g} s: all "
                    "that take sessions are full, or there is none (speechfleet worker --lanes "
                    "session)"
                ) from None
            except BaseException:
                if not self._resume:
                    await self.job.cancel("its client gave up")
                raise
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._live())]

    async def _submit(self) -> None:
        submitted = await self._client.ledger.submit(
            self._client.namespace, self.id, self._written.request
        )
        if not submitted.new:
            raise Conflict(
                f"session {self.id!r} is there already ({submitted.state}): take another id, or "
                "resume=True to go on with it"
            )

    async def _take_up(self) -> None:
        record = await self.job.record()
        if record.request.digest != self._written.request.digest:
            raise Conflict(f"session {self.id!r} speaks with another model, voice or option")
        self._written.request = record.request

    async def _held(self, word: asyncio.Queue[bytes]) -> None:
        while (await self.job.record()).state is State.QUEUED:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(word.get(), LOOK_EVERY)

    async def close(self) -> None:
        """Cancel it, unless it was completed; idempotent."""
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self._written.complete:
            with contextlib.suppress(JobNotFound):
                await self.job.cancel("closed by its client")

    # --- text in ----------------------------------------------------------------------------

    async def push(self, text: Msg | str) -> Chunk:
        """Take the text so far (accumulated), and return at once with the audio so far.

        The chunk's ``audio`` is all of it, perhaps nothing; its ``delta`` what came since the
        last push. Text that was pushed before is no error, whoever pushed it. Raises
        TextDiverged, TextComplete, TextTooLong, IllegalText, and what ended the session.
        """
        text = text.text() if isinstance(text, Msg) else text
        self._heard.raise_failure()
        if len(text) > len(self.text):
            await self._written.extend(text)
        elif not self.text.startswith(text):
            raise TextDiverged(self.text, text)
        else:
            await asyncio.sleep(0)  # who only asks for audio, in a loop, lets it in
        return self._heard.pushed()

    async def say(self, delta: str) -> Chunk:
        """The same for text that is only what is new."""
        return await self.push(self.text + delta)

    async def _live(self) -> None:
        """A client that writes nothing is another thing than one that is gone."""
        while not self._written.complete:
            await asyncio.sleep(self._client.settings.session_vanished / SIGNS)
            with contextlib.suppress(SpeechFleetError):
                await self._written.send(sign=True)

    # --- audio out --------------------------------------------------------------------------

    async def synthesize(self, text: Msg | str | None = None) -> AsyncGenerator[Chunk, None]:
        """Complete the text, and yield accumulated chunks from the first byte to the end.

        ``text``: all of it once more, if there is any that was not pushed. A text with nothing
        in it gives one empty chunk. Raises JobFailed, JobCancelled, and as `push` does.
        """
        await self.complete(text)
        if not self.text.strip():
            yield self._heard.nothing()
            return
        async for chunk in self._heard.chunks():
            yield chunk

    async def complete(self, text: Msg | str | None = None) -> None:
        """No more text: from here on the session is a job like any other. Idempotent."""
        if text is not None:
            await self.push(text)
        if self._written.complete:
            return
        if self.text.strip():
            await self._written.finish()
        else:
            self._written.close()
            await self.job.cancel("nothing to say")

    async def result(self, timeout: float | None = None) -> Speech:
        """The stored speech, once the text is complete; as `AsyncJob.result`."""
        return await self.job.result(timeout)

    async def interrupt(self, played: int | None = None) -> int:
        """Stop at once (barge-in); the code points of the text that were heard.

        ``played``: bytes of the audio that the listener heard; else what was published counts.
        """
        record = await self.job.record()
        heard = int(record.fields.get("text_end", "0"))
        if played is not None:
            segments = await self._client.ledger.segments(
                self._client.namespace, self.id, record.epoch
            )
            heard = _text_heard(segments, played)
        await self._client.ledger.cancel(
            self._client.namespace, self.id, "interrupted by a client", heard
        )
        self._written.close()
        return heard

    async def _follow(self) -> None:
        try:
            async for chunk in self.job.stream(linear=self._linear):
                self._heard.take(chunk)
        except SpeechFleetError as error:
            self._heard.fail(error)


def _text_heard(segments: list[Segment], played: int) -> int:
    """The text before it was heard; inside a segment in proportion to the audio."""
    heard = 0
    for segment in segments:
        if played < segment.end:
            share = max(0, played - segment.start) / (segment.end - segment.start)
            inside = int(share * (segment.text_end - segment.text_start))
            return segment.text_start + inside if inside else heard
        heard = segment.text_end
    return heard


class _Written:
    """The text as its client knows it, and what of it the server is known to hold."""

    def __init__(self, client: AsyncClient, id: str, request: Request) -> None:
        self._client = client
        self._id = id
        self.request = request
        self._known = 0

    @property
    def complete(self) -> bool:
        return not self.request.open

    async def extend(self, text: str) -> None:
        """Raises TextDiverged, TextComplete, and changes nothing then."""
        before = self.request
        if not text.startswith(before.text):
            raise TextDiverged(before.text, text)
        check_text(text, self._client.settings.session_text, "SPEECHFLEET_SESSION_TEXT")
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
        """There is nothing more to send."""
        self.request = replace(self.request, open=False)

    async def send(self, *, complete: bool = False, sign: bool = False) -> None:
        """What the server does not hold yet; the record is written again where Redis lost it.

        ``sign``: nothing new, only that the client lives.
        """
        ledger, namespace = self._client.ledger, self._client.namespace
        text = self.request.text[: self._known] if sign else self.request.text
        try:
            await ledger.push(namespace, self._id, text, self._known, complete=complete)
        except JobNotFound:
            await ledger.submit(namespace, self._id, self.request, "again")
            await ledger.push(namespace, self._id, text, complete=complete)
        self._known = max(self._known, len(text))


class _Heard:
    """The latest chunk, for one who asks now and then and for one who waits for more."""

    def __init__(self) -> None:
        self._latest = Chunk(b"", 0, 0, 0, _snapshot=AudioBuffer().snapshot())
        self._pushed = 0
        self._given = 0
        self._rewound = False
        self._changed = asyncio.Event()
        self._error: SpeechFleetError | None = None

    def take(self, chunk: Chunk) -> None:
        if chunk.rewound:
            self._rewound = self._rewound or chunk.offset < self._given
            self._given = min(self._given, chunk.offset)
            self._pushed = min(self._pushed, chunk.offset)
        self._latest = chunk
        self._changed.set()

    def fail(self, error: SpeechFleetError) -> None:
        self._error = error
        self._changed.set()

    def raise_failure(self) -> None:
        if self._error is not None:
            raise self._error

    def nothing(self) -> Chunk:
        return replace(self._latest, is_last=True)

    def pushed(self) -> Chunk:
        """All so far; the delta is what came since this was asked last."""
        start, self._pushed = self._pushed, self._latest.total
        return self._since(start, rewound=False)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """From the first byte to the last, as much at a time as there is."""
        self._given = 0
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            start, rewound = self._given, self._rewound
            chunk = self._since(start, rewound=rewound)
            if chunk.delta or rewound or chunk.is_last:
                self._given, self._rewound = chunk.total, False
                yield chunk
            if chunk.is_last:
                return
            if not self._changed.is_set():
                self.raise_failure()

    def _since(self, start: int, *, rewound: bool) -> Chunk:
        latest = self._latest
        return replace(latest, delta=bytes(latest.audio[start:]), offset=start, rewound=rewound)
