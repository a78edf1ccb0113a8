"""A client whose sessions speak at once: two bytes of audio for each character."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

from speechfleet.accumulator import Accumulator
from speechfleet.chunks import AudioEntry, Chunk, Finished, Started
from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.received_audio import ReceivedAudio

RATE = 24_000


def voice(text: str) -> bytes:
    """The audio of a text."""
    return text.encode("utf-16-le")


class ScriptedSession:
    """Notes what is called, in the ``calls`` of its client."""

    def __init__(self, client: ScriptedClient, id: str | None) -> None:
        self._client = client
        self.id = id
        self.text = ""
        self._audio = ReceivedAudio()
        self._accumulator = Accumulator(linear=True)
        self._accumulator.feed(Started(1, "", "", "", "", RATE))

    def _note(self, *call: str) -> None:
        self._client.note(call)

    async def open(self) -> None:
        self._note("open")
        if self._client.failure is not None:
            raise self._client.failure
        await self._client.room.wait()

    async def say(self, text: str) -> Chunk:
        self._note("say", text)
        self.text += text
        data, start = voice(text), 2 * (len(self.text) - len(text))
        chunk = self._accumulator.feed(AudioEntry(start, start + len(data), data))
        assert chunk is not None
        self._audio.take(chunk)
        return self._audio.since_last_push()

    async def complete(self) -> None:
        self._note("complete")
        if not self._client.endless:
            chunk = self._accumulator.feed(Finished(2 * len(self.text), 0, "", ""))
            assert chunk is not None
            self._audio.take(chunk)

    async def listen(self) -> AsyncGenerator[Chunk, None]:
        async for chunk in self._audio.chunks(until_silenced=True):
            yield chunk

    async def interrupt(self) -> int:
        self._note("interrupt")
        self._audio.silence()
        return 0

    async def close(self) -> None:
        self._note("close")


class ScriptedClient:
    """``endless``: audio does not end with the text. ``failure``: of every session."""

    def __init__(self, *, endless: bool = False, failure: SpeechFleetError | None = None) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.sessions: list[ScriptedSession] = []
        self.endless = endless
        self.failure = failure
        self.room = asyncio.Event()
        self.room.set()
        self._noted = asyncio.Event()

    def note(self, call: tuple[str, ...]) -> None:
        self.calls.append(call)
        self._noted.set()

    async def until(self, name: str) -> None:
        """Return once this was called."""
        async with asyncio.timeout(60):
            while name not in self.names:
                self._noted.clear()
                await self._noted.wait()

    async def open(self) -> None:
        pass

    def session(self, *, id: str | None = None, **_: Any) -> ScriptedSession:
        self.sessions.append(ScriptedSession(self, id))
        return self.sessions[-1]

    @property
    def names(self) -> list[str]:
        """What was called, by name."""
        return [call[0] for call in self.calls]

    def as_client(self) -> AsyncClient:
        """The same for type checkers."""
        return cast("AsyncClient", self)
