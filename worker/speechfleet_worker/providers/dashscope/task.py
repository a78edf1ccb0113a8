"""Run a task of DashScope's task protocol: text in, audio and words out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from speechfleet.errors import ProviderError
from speechfleet.settings import Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers.base import Audio, Report, SpokenWord, bounded_count
from speechfleet_worker.providers.dashscope.connection import Finished, Mode
from speechfleet_worker.providers.dashscope.task_socket import TaskSocket, new_task_id
from speechfleet_worker.providers.dashscope.transport import usage_of
from speechfleet_worker.providers.timeouts import Watchdog
from speechfleet_worker.providers.word_places import WordPlaces

LONGEST_PIECE = 20_000
"""Characters of one ``continue-task``."""


class SpeechTask:
    """A task that has been started. One task iterates; others may send meanwhile.

    The iteration ends after `Finished`; an error is raised there, and again by every later send.
    """

    mode: Mode = "server_commit"

    def __init__(self, socket: TaskSocket, rate: int, timeouts: Timeouts) -> None:
        """Use `start`."""
        self.session_id = new_task_id()
        self.uncommitted = False
        self._socket = socket
        self._rate = rate
        self._watchdog = Watchdog(timeouts)
        self._failure: ProviderError | None = None
        self._usage = TTSUsage()
        self._finished = False
        self._words = _WordTimes()
        self._bytes = 0

    @classmethod
    async def start(
        cls, socket: TaskSocket, model: str, parameters: Mapping[str, Any], timeouts: Timeouts
    ) -> Self:
        """Start a task and wait until it takes text: none may be sent before.

        A connection on which no task could be started is closed.
        """
        task = cls(socket, int(parameters["sample_rate"]), timeouts)
        payload = {
            "task_group": "audio",
            "task": "tts",
            "function": "SpeechSynthesizer",
            "model": model,
            "input": {},
            "parameters": dict(parameters),
        }
        try:
            await socket.send("run-task", task.session_id, payload)
            await task._await_start()
        except BaseException:
            await socket.close()
            raise
        return task

    async def _await_start(self) -> None:
        self._watchdog.owe()
        while True:
            answer = await self._watchdog.guard(self._socket.receive())
            if isinstance(answer, dict) and answer["header"].get("event") == "task-started":
                self._watchdog.paid(more=False)
                return

    # --- text in

    async def append(self, text: str) -> None:
        self._watchdog.owe()
        self._words.add(text)
        for start in range(0, len(text), LONGEST_PIECE):
            piece = text[start : start + LONGEST_PIECE]
            await self._send("continue-task", {"input": {"text": piece}})

    async def commit(self) -> None:
        """Have all text so far spoken, whether or not a sentence ends there."""
        await self._send("continue-task", {"input": {"flush": True}})

    async def finish(self) -> None:
        """End the text; idempotent."""
        self._watchdog.finish()
        await self._send("finish-task", {"input": {}})

    async def close(self) -> None:
        await self._socket.close()

    async def _send(self, action: str, payload: Mapping[str, Any]) -> None:
        if self._failure is not None:
            raise self._failure
        await self._socket.send(action, self.session_id, payload)

    # --- audio out

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Audio | Report | Finished:
        if self._finished:
            raise StopAsyncIteration
        try:
            while True:
                part = self._understood(await self._watchdog.guard(self._socket.receive()))
                if part is not None:
                    return part
        except ProviderError as error:
            self._failure = error
            raise

    def _understood(self, message: bytes | Mapping[str, Any]) -> Audio | Report | Finished | None:
        if isinstance(message, bytes):
            self._watchdog.heard()
            self._bytes += len(message)
            return Audio(message, self._rate) if message else None
        payload = message.get("payload") or {}
        usage = usage_of(payload.get("usage"))
        if usage is not None:  # cumulative
            self._usage = usage
        if message["header"].get("event") == "task-finished":
            self._finished = True
            return Finished(self._usage, self.session_id)
        output = payload.get("output") or {}
        if output.get("type") == "sentence-begin":
            self._words.begin(self._bytes / (2 * self._rate))
        words = self._words.of((output.get("sentence") or {}).get("words"))
        return Report(words=words) if words else None


class _WordTimes:
    """The words of a task, found again in its text by their order."""

    def __init__(self) -> None:
        self._places = WordPlaces()
        self._end = 0.0
        self._sentence_at = 0.0

    def add(self, text: str) -> None:
        """Add text that the task was given."""
        self._places.text += text

    def begin(self, seconds: float) -> None:
        """Begin a sentence after so many seconds of audio."""
        self._sentence_at = seconds

    def of(self, words: object) -> tuple[SpokenWord, ...]:
        """Place words that have not come before. Some voices count from their sentence on."""
        found = []
        for word in words if isinstance(words, list) else ():
            if not isinstance(word, dict):
                continue
            place = self._places.find(str(word.get("text") or "").strip())
            if place is None:
                continue
            start, end = (bounded_count(word.get(f"{edge}_time")) / 1000 for edge in _EDGES)
            if start < self._end:
                start, end = start + self._sentence_at, end + self._sentence_at
            if start < self._end:
                continue  # told before: events repeat what came since the sentence began
            self._places.pass_over(place)
            self._end = max(start, end)
            found.append(SpokenWord(*place, start, self._end))
        return tuple(found)


_EDGES = ("begin", "end")
