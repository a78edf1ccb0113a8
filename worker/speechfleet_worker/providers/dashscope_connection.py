"""One realtime session with DashScope (Qwen-TTS-Realtime): text in, audio out, in order.

The protocol is the SDK's (its `RealtimeSession`: the URL, the headers, event ids, what may be
sent when, which ending is premature); the socket is aiohttp's, on the event loop. The SDK asks
a ``connector`` for its socket and `_Mailbox` is what it gets: frames to be sent are picked up
there, frames that came are laid down there. So a session costs no thread and never blocks.

https://www.alibabacloud.com/help/en/model-studio/qwen-tts-realtime-server-events
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from speechfleet.errors import IncompleteAudio, ProviderError, ProviderTimeout, ProviderUnavailable
from speechfleet.settings import Timeouts
from speechfleet.tts import TTSUsage
from speechfleet_worker.providers.base import Audio
from speechfleet_worker.providers.dashscope_transport import (
    BASE_URL,
    REALTIME_URL,
    decoded,
    loop_connector,
    provider_error,
    proxy_for,
    sdk,
    send_once,
    transport_errors,
    unreachable,
    usage_of,
)

if TYPE_CHECKING:
    import aiohttp

SAMPLE_RATE = 24_000
_FRAME_LIMIT = 16 << 20
"""Bytes of one message; a whole response's audio may come in one."""
_CLOSING = 1.0
"""Seconds that the peer has for its half of the closing handshake."""

Received = TypeVar("Received")
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


class _Mailbox:
    """The socket as the SDK sees it. An empty frame is its word for "closed"."""

    def __init__(self) -> None:
        self.url = ""
        self.headers: dict[str, str] = {}
        self.outgoing: deque[str] = deque()
        self.incoming: str | bytes = ""

    def connect(self, url: str, headers: dict[str, str]) -> Self:
        self.url, self.headers = url, headers
        return self

    def send(self, frame: str) -> None:
        self.outgoing.append(frame)

    def recv(self) -> str | bytes:
        frame, self.incoming = self.incoming, ""
        return frame

    def settimeout(self, seconds: float) -> None:
        """The time-outs are our own."""

    def close(self) -> None:
        """Closing takes a loop: `RealtimeConnection.close`."""


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

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        session: Any,
        mailbox: _Mailbox,
        mode: Mode,
        timeouts: Timeouts,
        secret: str,
    ) -> None:
        """Use `open`."""
        self.mode = mode
        self._http, self._socket, self._sdk, self._mailbox = http, socket, session, mailbox
        self._secret = secret
        self._failure: ProviderError | None = None
        self._rate = SAMPLE_RATE
        self._uncommitted = False
        self._commits = 0
        self._responses = 0
        self._finished = False
        self._usage = TTSUsage()
        self._watchdog = _Watchdog(timeouts)

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
        """A session with the parameters ``session`` (voice, language_type, ...).

        Returns after the handshake: what DashScope holds against the parameters is raised by
        the iteration. Without ``url``: DASHSCOPE_REALTIME_URL, or DashScope's own.
        """
        import aiohttp

        timeouts = timeouts or Timeouts()
        mailbox = _Mailbox()
        protocol = _client().audio.realtime.connect(
            model=model,
            ws_url=url or os.environ.get("DASHSCOPE_REALTIME_URL") or REALTIME_URL,
            connector=mailbox.connect,
            headers=headers,
            api_key=api_key,
            workspace=workspace,
        )
        protocol.connect()
        http = aiohttp.ClientSession(
            connector=await loop_connector(), connector_owner=False, middlewares=(send_once,)
        )
        try:
            socket = await _handshake(http, mailbox, timeouts, api_key)
        except BaseException:
            await http.close()
            raise
        connection = cls(
            http=http,
            socket=socket,
            session=protocol,
            mailbox=mailbox,
            mode=mode,
            timeouts=timeouts,
            secret=api_key,
        )
        try:
            await connection._send("session.update", session={**session, "mode": mode})
        except BaseException:
            await connection.close()
            raise
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def session_id(self) -> str:
        """DashScope's id of the session, "" before the first event."""
        return self._sdk.session_id or ""

    # --- text in

    async def append(self, text: str) -> None:
        """Add to the text that is not committed yet; in ``server_commit`` mode DashScope
        speaks of it what it likes, when it likes."""
        self._uncommitted = True
        await self._send("input_text_buffer.append", text=text)

    async def commit(self) -> int:
        """Have what was appended spoken, as the response whose index is returned.

        (In ``server_commit`` mode the index means nothing.) RuntimeError where nothing was
        appended since the last commit.
        """
        if not self._uncommitted:
            raise RuntimeError("nothing was appended since the last commit")
        self._uncommitted = False
        self._commits += 1
        self._watchdog.owe()
        await self._send("input_text_buffer.commit")
        return self._commits - 1

    async def clear(self) -> None:
        """Forget what was appended and not committed."""
        self._uncommitted = False
        await self._send("input_text_buffer.clear")

    async def cancel(self) -> None:
        """Stop the response that is being spoken (barge-in); it ends as ``cancelled``."""
        await self._send("response.cancel")

    async def finish(self) -> None:
        """No more text: speak the rest and end the session; idempotent."""
        if self.mode == "commit" and self._uncommitted:
            await self.commit()
        self._watchdog.finish()
        await self._send("session.finish")

    async def close(self) -> None:
        """Close the socket, also in the middle of a response; idempotent."""
        self._sdk.close()
        try:
            await self._socket.close()
        finally:
            await self._http.close()

    async def _send(self, kind: str, **fields: Any) -> None:
        if self._failure is not None:
            raise self._failure
        self._sdk.send_event({"type": kind, **fields})
        if not self._mailbox.outgoing:  # the SDK sends no second finish
            return
        try:
            # Nothing is awaited between the SDK's word and the first byte: order is kept.
            await self._socket.send_str(self._mailbox.outgoing.popleft())
        except transport_errors() as error:
            raise self._failure or unreachable(error) from None

    # --- audio out

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RealtimeEvent:
        if self._finished:
            raise StopAsyncIteration
        try:
            while True:
                event = self._understood(await self._next())
                if event is not None:
                    return event
        except ProviderError as error:
            self._failure = error
            raise

    async def _next(self) -> dict[str, Any]:
        message = await self._watchdog.guard(self._socket.receive())
        # Whatever is neither text nor bytes tells that the socket is closed.
        self._mailbox.incoming = message.data if isinstance(message.data, (str, bytes)) else ""
        event = self._read()
        if event is None:
            code = self._socket.close_code
            raise ProviderUnavailable(
                f"DashScope closed the session before it was finished (code {code})",
                request_id=self.session_id,
            )
        return event

    def _read(self) -> dict[str, Any] | None:
        """The event in the mailbox; None where the session was closed too early."""
        from dashscope.v2.errors import APIConnectionError, DashScopeError

        try:
            event: dict[str, Any] | None = self._sdk.recv_event()
        except APIConnectionError:
            return None
        except DashScopeError as error:
            raise provider_error(
                error.message,
                code=error.code or "",
                request_id=self.session_id,
                secret=self._secret,
            ) from None
        except ValueError:
            raise ProviderUnavailable("DashScope sent a message that does not parse") from None
        return event

    def _understood(self, event: Mapping[str, Any]) -> RealtimeEvent | None:
        match event.get("type"):
            case "session.updated":
                self._rate = int(event["session"].get("sample_rate") or SAMPLE_RATE)
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
            raise provider_error(
                str(error.get("message") or f"the response ended as {status}"),
                code=str(error.get("code") or ""),
                request_id=self.session_id,
                secret=self._secret,
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
        if self._responses < self._commits:
            raise IncompleteAudio(
                f"{self._commits - self._responses} of {self._commits} commits were not spoken",
                request_id=self.session_id,
            )
        return Finished(self._usage, self.session_id)


class _Watchdog:
    """How long the next message may take: for ever, unless the provider owes something."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._owed_since: float | None = None
        self._speaking = False
        self._end: float | None = None
        self._pending: asyncio.Timeout | None = None

    async def guard(self, receiving: Awaitable[Received]) -> Received:
        """What ``receiving`` gives; ProviderTimeout naming the limit that passed."""
        try:
            async with asyncio.timeout_at(self._deadline()) as self._pending:
                return await receiving
        except TimeoutError:
            raise ProviderTimeout(f"{self._overdue()}: nothing came in time") from None
        finally:
            self._pending = None

    def owe(self) -> None:
        """Something was asked for."""
        if self._owed_since is None:
            self.begin()

    def begin(self) -> None:
        """From now on counts the time to the first audio."""
        self._owed_since, self._speaking = _now(), False
        self._rearm()

    def heard(self) -> None:
        """Audio came: from now on counts the silence."""
        self._owed_since, self._speaking = _now(), True

    def paid(self, *, more: bool) -> None:
        """A response is done, and ``more`` are to come."""
        if more:
            self.begin()
        else:
            # Once all text is sent the end of the session is owed still.
            self._owed_since = None if self._end is None else _now()

    def finish(self) -> None:
        """All text is sent: from now on counts the whole call."""
        if self._end is None:
            self._end = _now() + self._timeouts.call
            self.owe()
            self._rearm()

    def _rearm(self) -> None:
        if self._pending is not None:
            self._pending.reschedule(self._deadline())

    def _deadline(self) -> float | None:
        limits = [] if self._end is None else [self._end]
        if self._owed_since is not None:
            limits.append(self._owed_since + self._limit())
        return min(limits, default=None)

    def _limit(self) -> float:
        return self._timeouts.silence if self._speaking else self._timeouts.first_audio

    def _overdue(self) -> str:
        if self._end is not None and _now() >= self._end:
            return f"whole call ({self._timeouts.call:g} s)"
        what = "silence between chunks" if self._speaking else "first audio"
        return f"{what} ({self._limit():g} s)"


def _now() -> float:
    return asyncio.get_running_loop().time()


@lru_cache(maxsize=1)
def _client() -> Any:
    """The SDK's client, of which only the realtime part is used; keys are given per session."""
    with warnings.catch_warnings():
        # "a preview and may change": pyproject.toml bounds the version.
        warnings.simplefilter("ignore", FutureWarning)
        client = sdk().Client(api_key="given per session", base_url=BASE_URL)
        client.audio  # noqa: B018 - the first look at it is what warns
    return client


async def _handshake(
    http: aiohttp.ClientSession, mailbox: _Mailbox, timeouts: Timeouts, secret: str
) -> aiohttp.ClientWebSocketResponse:
    import aiohttp

    try:
        async with asyncio.timeout(timeouts.connect):
            return await http.ws_connect(
                mailbox.url,
                headers=mailbox.headers,
                proxy=proxy_for(mailbox.url),
                max_msg_size=_FRAME_LIMIT,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING),
            )
    except TimeoutError:
        limit = timeouts.connect
        raise ProviderTimeout(f"connect: no connection within {limit:g} s") from None
    except aiohttp.WSServerHandshakeError as error:
        raise provider_error(
            f"DashScope refused the session with HTTP {error.status}",
            status=error.status if error.status >= 400 else 0,
            headers=error.headers,
            secret=secret,
        ) from None
    except transport_errors() as error:
        raise unreachable(error) from None
