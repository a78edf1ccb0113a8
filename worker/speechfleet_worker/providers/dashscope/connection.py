"""Hold a realtime session with DashScope (Qwen-TTS-Realtime): text in, audio out, in order.

https://www.alibabacloud.com/help/en/model-studio/qwen-tts-realtime-server-events
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from speechfleet.errors import IncompleteAudio, ProviderError
from speechfleet.settings import Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers.base import Audio, bounded_count
from speechfleet_worker.providers.dashscope.socket import RealtimeSocket
from speechfleet_worker.providers.dashscope.transport import decoded, usage_of
from speechfleet_worker.providers.timeouts import Watchdog

SAMPLE_RATE = 24_000
"""Hz, until the session says otherwise."""

Mode = Literal["commit", "server_commit"]


@dataclass(frozen=True)
class ResponseDone:
    """Response ``index`` is spoken: all `Audio` since the last `ResponseDone` belongs to it.

    Responses count from 0. In commit mode there is one for each `RealtimeConnection.commit`,
    in that order, so text and audio align here. ``cancelled``: it ended early, as asked.
    """

    index: int
    usage: TTSUsage | None = None
    response_id: str = ""
    cancelled: bool = False


@dataclass(frozen=True)
class Finished:
    """Everything is spoken and the session is over. ``usage`` is that of all its responses."""

    usage: TTSUsage
    session_id: str = ""


RealtimeEvent = Audio | ResponseDone | Finished


class RealtimeConnection:
    """A session: `append` and `commit` text, iterate over the events, `finish`, `close`.

        async with await RealtimeConnection.open(...) as connection:
            await connection.append("Hello. ")
            first = await connection.commit()
            await connection.finish()
            async for event in connection:      # Audio..., ResponseDone(first), Finished
                ...

    One task iterates; others may send meanwhile. The iteration ends after `Finished`; whatever
    else ends the session is raised there, mapped, and again by every later send. A watchdog
    raises ProviderTimeout while something is owed: first audio, silence, and, from `finish` on,
    the whole call. An idle session may idle as long as DashScope lets it.
    """

    def __init__(self, socket: RealtimeSocket, mode: Mode, timeouts: Timeouts) -> None:
        """Use `open`."""
        self.mode = mode
        self._socket = socket
        self._watchdog = Watchdog(timeouts)
        self._failure: ProviderError | None = None
        self._rate = SAMPLE_RATE
        self._uncommitted = False
        self._commits = 0
        self._responses = 0
        self._finished = False
        self._usage = TTSUsage()

    @classmethod
    async def open(
        cls,
        *,
        api_key: str,
        model: str,
        session: Mapping[str, Any],
        mode: Mode = "commit",
        url: str | None = None,
        timeouts: Timeouts | None = None,
        workspace: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a session with the parameters ``session`` (voice, language_type, ...).

        Returns after the handshake: what DashScope holds against the parameters is raised by
        the iteration. Without ``url``: DASHSCOPE_REALTIME_URL, or DashScope's own.
        """
        timeouts = timeouts or Timeouts()
        socket = await RealtimeSocket.open(
            api_key=api_key,
            model=model,
            url=url,
            workspace=workspace,
            headers=headers,
            connect=timeouts.connect,
        )
        try:
            await socket.send("session.update", session={**session, "mode": mode})
        except BaseException:
            await socket.close()
            raise
        return cls(socket, mode, timeouts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def session_id(self) -> str:
        """DashScope's id of the session, "" before the first event."""
        return self._socket.session_id

    @property
    def uncommitted(self) -> bool:
        """Tell whether text was appended since the last commit."""
        return self._uncommitted

    # --- text in

    async def append(self, text: str) -> None:
        """Append to the uncommitted text; in ``server_commit`` mode DashScope decides when
        to speak it."""
        self._uncommitted = True
        await self._send("input_text_buffer.append", text=text)

    async def commit(self) -> int:
        """Have what was appended spoken, as the response whose index is returned.

        (In ``server_commit`` mode the index means nothing.) RuntimeError where nothing was
        appended since the last commit.
        """
        if not self._uncommitted:
            raise RuntimeError("nothing was appended since the last commit")
        index, self._commits = self._commits, self._commits + 1
        self._uncommitted = False
        self._watchdog.owe()
        await self._send("input_text_buffer.commit")
        return index

    async def clear(self) -> None:
        """Forget what was appended and not committed."""
        self._uncommitted = False
        await self._send("input_text_buffer.clear")

    async def cancel(self) -> None:
        """Stop the response that is being spoken (barge-in); it ends as ``cancelled``."""
        await self._send("response.cancel")

    async def finish(self) -> None:
        """End the text: the rest is spoken, then the session ends; idempotent."""
        if self.mode == "commit" and self._uncommitted:
            await self.commit()
        self._watchdog.finish()
        await self._send("session.finish")

    async def close(self) -> None:
        """Close the socket, also in the middle of a response; idempotent."""
        await self._socket.close()

    async def _send(self, kind: str, **fields: Any) -> None:
        if self._failure is not None:
            raise self._failure
        await self._socket.send(kind, **fields)

    # --- audio out

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RealtimeEvent:
        if self._finished:
            raise StopAsyncIteration
        try:
            while True:
                event = self._understood(await self._watchdog.guard(self._socket.receive()))
                if event is not None:
                    return event
        except ProviderError as error:
            self._failure = error
            raise

    def _understood(self, event: Mapping[str, Any]) -> RealtimeEvent | None:
        match event.get("type"):
            case "session.updated":
                session = event.get("session") or {}
                self._rate = bounded_count(session.get("sample_rate")) or SAMPLE_RATE
            case "response.created":
                self._watchdog.begin()
            case "response.audio.delta":
                self._watchdog.heard()
                return Audio(decoded(event.get("delta")), self._rate)
            case "response.done":
                return self._response_done(event.get("response") or {})
            case "session.finished":
                return self._all_done()
        return None

    def _response_done(self, response: Mapping[str, Any]) -> ResponseDone:
        status = response.get("status", "completed")
        if status not in ("completed", "cancelled"):
            details = response.get("status_details") or {}
            error = details.get("error") or {}
            raise self._socket.said(
                str(error.get("message") or f"the response ended as {status}"),
                str(error.get("code") or ""),
            )
        usage = usage_of(response.get("usage"))
        if usage is not None:
            self._usage.characters += usage.characters
            self._usage.input_tokens += usage.input_tokens
            self._usage.output_tokens += usage.output_tokens
        self._responses += 1
        self._watchdog.paid(more=self._responses < self._commits)
        identity = str(response.get("id", ""))
        return ResponseDone(self._responses - 1, usage, identity, status == "cancelled")

    def _all_done(self) -> Finished:
        self._finished = True
        if self.mode == "commit" and self._responses < self._commits:
            raise IncompleteAudio(
                f"{self._commits - self._responses} of {self._commits} commits were not spoken",
                request_id=self.session_id,
            )
        return Finished(self._usage, self.session_id)
