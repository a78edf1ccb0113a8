"""A session, for programs without an event loop. Generated: see `make sync`."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType

from speechfleet.chunks import Chunk
from speechfleet.session import (
    AsyncSession,
)
from speechfleet.sync.base import SyncHandle
from speechfleet.sync.job import Job, Speech
from speechfleet.tts import Msg


class Session(SyncHandle[AsyncSession]):
    """A text that is spoken while it is written; an async context manager.

    Entering waits for a worker, which holds the session from then on. Leaving without
    `synthesize` cancels it. Others may follow it by its id, like any job. While Redis is away
    its calls wait, for ``SPEECHFLEET_REDIS_PATIENCE`` seconds.
    """

    @property
    def id(self) -> str:
        return self._async.id

    @property
    def job(self) -> Job:
        return Job(self._async.job, self._loop)

    def __enter__(self) -> Session:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def text(self) -> str:
        """All that was pushed."""
        return self._async.text

    def open(self) -> None:
        """Wait for a worker that takes the session.

        Raises NoCapacity, Conflict (the id is taken), JobNotFound (nothing to resume).
        """
        self._loop.run(self._async.open())

    def close(self) -> None:
        """Cancel it, unless its text was completed. Idempotent."""
        self._loop.run(self._async.close())

    def leave(self) -> bool:
        """Stop here without cancelling it; False where it was not open.

        If nobody resumes it, it ends after ``SPEECHFLEET_SESSION_VANISHED`` seconds.
        """
        return self._loop.run(self._async.leave())

    def push(self, text: Msg | str) -> Chunk:
        """Send the text so far (accumulated), and return at once with the audio so far.

        The chunk's ``audio`` is all of it, perhaps nothing; its ``delta`` what came since the
        last push. Text that was pushed before is no error, whoever pushed it. Raises
        TextDiverged, TextComplete, TextTooLong, IllegalText, and what ended the session.
        """
        return self._loop.run(self._async.push(text))

    def say(self, delta: str) -> Chunk:
        """Send text that continues what was pushed; otherwise as `push`."""
        return self._loop.run(self._async.say(delta))

    def synthesize(self, text: Msg | str | None = None) -> Generator[Chunk, None, None]:
        """Complete the text, and yield accumulated chunks from the first byte to the end.

        ``text``: all of it once more, if there is any that was not pushed. A text with nothing
        in it gives one empty chunk. Raises JobFailed, JobCancelled, and as `push` does.
        """
        yield from self._loop.iterate(self._async.synthesize(text))

    def listen(self) -> Generator[Chunk, None, None]:
        """Yield accumulated chunks from the first byte on, while text is still being written.

        Ends after the last chunk, or quietly at this session's own `interrupt` or `close`, or
        for a text with nothing in it. Any number may listen. Raises JobFailed, JobCancelled
        (by somebody else), FirstAudioTimeout.
        """
        yield from self._loop.iterate(self._async.listen())

    def complete(self, text: Msg | str | None = None) -> None:
        """End the text: from here on the session is a job like any other. Idempotent."""
        self._loop.run(self._async.complete(text))

    def result(self, timeout: float | None = None) -> Speech:
        """Wait for the stored speech, once the text is complete; as `Job.result`."""
        return Speech(self._loop.run(self._async.result(timeout)), self._loop)

    def heard(self, offset: int) -> int:
        """Return how much of the text the audio before byte ``offset`` has spoken.

        In code points of the text: up to the last word of which half was heard; inside a
        segment whose words are not known, in proportion.
        """
        return self._loop.call(lambda: self._async.heard(offset))

    def interrupt(self, played: int | None = None) -> int:
        """Stop at once (barge-in); return the code points of the text that were heard.

        ``played``: bytes of the audio that the listener heard, see `heard`; else what was
        published counts. `listen` ends before this returns.
        """
        return self._loop.run(self._async.interrupt(played))
