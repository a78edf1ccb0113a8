"""The audio of a session as its client holds it, for any number of listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from speechfleet.audio.buffer import AudioBuffer
from speechfleet.chunks import Chunk
from speechfleet.errors import SpeechFleetError
from speechfleet.first_audio import FirstAudioDeadline, no_first_audio
from speechfleet.heard_text import text_heard
from speechfleet.job import AsyncJob
from speechfleet.words import Mark


class ReceivedAudio:
    """Keeps the latest chunk, for callers that ask now and then and for those that listen."""

    def __init__(self) -> None:
        self._latest = Chunk(b"", 0, 0, 0, _snapshot=AudioBuffer().snapshot())
        self._marks: dict[int, Mark] = {}
        self._pushes = _Listener()
        self._listeners: set[_Listener] = {self._pushes}
        self._error: SpeechFleetError | None = None
        self._silenced = False

    @property
    def began(self) -> bool:
        """True once there was audio."""
        return self._latest.total > 0

    @property
    def ended(self) -> bool:
        return self._latest.is_last or self._error is not None

    def take(self, chunk: Chunk) -> None:
        """Take the next chunk of the job's stream."""
        if chunk.rewound:
            self._marks = {i: m for i, m in self._marks.items() if m.offset < chunk.offset}
        self._marks.update((mark.index, mark) for mark in chunk.marks)
        self._latest = chunk
        for listener in self._listeners:
            listener.tell(chunk)

    def fail(self, error: SpeechFleetError) -> None:
        """End with an error, after the audio that there is. The first one stays."""
        if not self.ended:
            self._error = error
        self._tell_all()

    def silence(self) -> None:
        """End every `chunks` at once, because their own session wants no more audio."""
        self._silenced = True
        self._tell_all()

    def raise_failure(self) -> None:
        """Raise what the session failed with, if it has."""
        if self._error is not None:
            raise self._error

    def heard(self, offset: int) -> int:
        """Return the position in the text that the audio has come to at ``offset``."""
        return text_heard(self._marks.values(), self._latest, offset)

    def nothing(self) -> Chunk:
        """Return the one chunk of a text with nothing in it."""
        return replace(self._latest, is_last=True)

    def since_last_push(self) -> Chunk:
        """Return all so far; the delta is what came since the last call."""
        return replace(self._for(self._pushes), rewound=False)

    async def chunks(self, *, until_silenced: bool = False) -> AsyncGenerator[Chunk, None]:
        """Yield the audio from the first byte to the last, as much at a time as there is.

        ``until_silenced``: end without an error after `silence`.
        """
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while True:
                await listener.changed.wait()
                listener.changed.clear()
                if self._silenced and until_silenced:
                    return
                knows_more = listener.has_new_words
                chunk = self._for(listener)
                if chunk.delta or chunk.rewound or chunk.is_last or knows_more:
                    yield chunk
                if chunk.is_last:
                    return
                if not listener.changed.is_set():
                    self.raise_failure()
        finally:
            self._listeners.discard(listener)

    def _for(self, listener: _Listener) -> Chunk:
        """Make the chunk of all that the listener was not given yet, and note that it was."""
        latest, start, rewound = self._latest, listener.given, listener.rewound
        marks = tuple(each for each in self._marks.values() if each not in listener.marks)
        listener.given, listener.rewound, listener.has_new_words = latest.total, False, False
        listener.marks.update(marks)
        delta = bytes(latest.audio[start:])
        return replace(latest, delta=delta, offset=start, rewound=rewound, marks=marks)

    def _tell_all(self) -> None:
        for listener in self._listeners:
            listener.changed.set()


class SessionAudio(ReceivedAudio):
    """Follows the job of a session, at a rate and with a patience of one's own."""

    def __init__(
        self,
        job: AsyncJob,
        linear: bool,
        sample_rate: int | None,
        first_audio_timeout: float | None,
    ) -> None:
        super().__init__()
        self._job = job
        self._linear = linear
        self._sample_rate = sample_rate
        self._deadline = (
            FirstAudioDeadline(first_audio_timeout) if first_audio_timeout is not None else None
        )

    def start(self) -> list[asyncio.Task[None]]:
        """Start the tasks that fill it."""
        tasks = [asyncio.create_task(self._follow())]
        if self._deadline is not None:
            tasks.append(asyncio.create_task(self._keep(self._deadline)))
        return tasks

    def text_was_sent(self) -> None:
        """Count the time for the first audio from now on."""
        if self._deadline is not None:
            self._deadline.text_was_sent()

    async def _follow(self) -> None:
        chunks = self._job.stream(linear=self._linear, sample_rate=self._sample_rate)
        try:
            async for chunk in chunks:
                self.take(chunk)
        except SpeechFleetError as error:
            self.fail(error)

    async def _keep(self, deadline: FirstAudioDeadline) -> None:
        await deadline.pass_by()
        if not self.began:
            self.fail(no_first_audio(f"session {self._job.id!r}", deadline.timeout_s))


class _Listener:
    """The place of one listener in the audio."""

    def __init__(self) -> None:
        self.given = 0
        self.rewound = False
        self.has_new_words = False
        self.marks: set[Mark] = set()
        self.changed = asyncio.Event()
        self.changed.set()

    def tell(self, chunk: Chunk) -> None:
        """Note a new chunk, and whether it takes back what this listener was given."""
        if chunk.rewound:
            self.rewound = self.rewound or chunk.offset < self.given
            self.given = min(self.given, chunk.offset)
            self.marks = {mark for mark in self.marks if mark.offset < chunk.offset}
        self.has_new_words = self.has_new_words or not (chunk.delta or chunk.rewound)
        self.changed.set()
