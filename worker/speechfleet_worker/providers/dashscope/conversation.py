"""Several texts over one realtime session with DashScope, each committed on its own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from speechfleet.errors import IncompleteAudio, ProviderError, ProviderUnavailable
from speechfleet_worker.providers.base import Audio, ProviderModel, Report
from speechfleet_worker.providers.dashscope.connection import (
    Mode,
    RealtimeConnection,
    ResponseDone,
)

log = logging.getLogger(__name__)

Answer = asyncio.Queue[Audio | Report | ProviderError | None]


@dataclass
class _Line:
    """An open connection, and who waits for its responses, in the order of the commits."""

    connection: RealtimeConnection
    answers: deque[Answer] = field(default_factory=deque)
    reader: asyncio.Task[None] | None = None


class DashScopeConversation(ProviderModel):
    """Speaks texts in the order in which they are given; use it as an async context manager.

    A connection that was lost fails the texts that it owed, with a ProviderError; the next text
    opens another. So one may be closed for idleness, and nobody notices.
    """

    def __init__(
        self, model: ProviderModel, connect: Callable[[Mode], Awaitable[RealtimeConnection]]
    ) -> None:
        super().__init__(model.model_name, True, model.voice, model.timeouts, model.options)
        self._connect = connect
        self._line: _Line | None = None
        self._sending = asyncio.Lock()
        self._opening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._opening = asyncio.create_task(self._open())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None and line.reader is not None:
            line.reader.cancel()
            await asyncio.gather(line.reader, return_exceptions=True)

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        answer = await self._commit(text)
        while (part := await answer.get()) is not None:
            if isinstance(part, ProviderError):
                raise part
            yield part

    async def _commit(self, text: str) -> Answer:
        answer: Answer = asyncio.Queue()
        async with self._sending:
            line = await self._open_line()
            line.answers.append(answer)
            await line.connection.append(text)
            await line.connection.commit()
        return answer

    async def _open(self) -> None:
        try:
            async with self._sending:
                await self._open_line()
        except ProviderError as error:
            log.debug("not yet connected, the first text will be: %s", error)

    async def _open_line(self) -> _Line:
        if self._line is None:
            line = _Line(await self._connect("commit"))
            line.reader = asyncio.create_task(self._read(line))
            self._line = line
        return self._line

    async def _read(self, line: _Line) -> None:
        error: ProviderError = ProviderUnavailable("the realtime session ended")
        try:
            async for event in line.connection:
                if isinstance(event, Audio):
                    line.answers[0].put_nowait(event)
                elif isinstance(event, ResponseDone):
                    answer = line.answers.popleft()
                    answer.put_nowait(Report(event.usage, line.connection.session_id))
                    answer.put_nowait(_cut_short() if event.cancelled else None)
        except ProviderError as lost:
            error = lost
        finally:
            if self._line is line:
                self._line = None
            await line.connection.close()
            for answer in line.answers:
                answer.put_nowait(error)


def _cut_short() -> IncompleteAudio:
    return IncompleteAudio("the response was cancelled before all was spoken")
