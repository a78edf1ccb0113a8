"""DashScope's realtime protocol on the event loop: events out, events in.

The protocol is the SDK's (its `RealtimeSession`: the URL, the headers, event ids, what may be
sent when, which ending is premature); the socket is aiohttp's. The SDK asks a ``connector`` for
its socket, and `_Mailbox` is what it gets: frames to be sent are picked up there, frames that
came are laid down there. So a session costs no thread and never blocks.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from speechfleet.errors import ProviderError, ProviderUnavailable
from speechfleet_worker.providers.dashscope.transport import (
    BASE_URL,
    REALTIME_URL,
    loop_connector,
    provider_error,
    proxy_for,
    sdk,
    send_once,
    transport_errors,
    unreachable,
)
from speechfleet_worker.providers.failures import shown_address
from speechfleet_worker.providers.timeouts import connect_timeout

if TYPE_CHECKING:
    import aiohttp

_FRAME_LIMIT = 16 << 20
"""Bytes of one message; a whole response's audio may come in one."""
_CLOSING = 1.0
"""Seconds that the peer has for its half of the closing handshake."""


class RealtimeSocket:
    """Speaks the protocol over an open socket. Errors leave it mapped."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        protocol: Any,
        mailbox: _Mailbox,
        secret: str,
    ) -> None:
        """Use `open`."""
        self._http, self._socket = http, socket
        self._protocol, self._mailbox = protocol, mailbox
        self._secret = secret

    @classmethod
    async def open(
        cls,
        *,
        api_key: str,
        model: str,
        url: str | None,
        workspace: str | None,
        headers: Mapping[str, str] | None,
        connect: float,
    ) -> Self:
        """Connected and shaken hands within ``connect`` seconds."""
        import aiohttp

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
            socket = await _handshake(http, mailbox, connect)
        except BaseException:
            await http.close()
            raise
        return cls(http, socket, protocol, mailbox, api_key)

    @property
    def session_id(self) -> str:
        """DashScope's id of the session, "" before its first event."""
        return self._protocol.session_id or ""

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event. RuntimeError where the protocol does not allow it (any more)."""
        self._protocol.send_event({"type": kind, **fields})
        if not self._mailbox.outgoing:  # the SDK sends no second finish
            return
        try:
            # Nothing is awaited between the SDK's word and the first byte: order is kept.
            await self._socket.send_str(self._mailbox.outgoing.popleft())
        except transport_errors() as error:
            raise unreachable(error) from None

    async def receive(self) -> dict[str, Any]:
        """Receive the next event.

        Raises ProviderError for an error of DashScope's, a session closed too early, a message
        that does not parse.
        """
        message = await self._socket.receive()
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

    def said(self, message: str, code: str) -> ProviderError:
        """Make the error for what DashScope said about this session."""
        return provider_error(message, code=code, request_id=self.session_id, secret=self._secret)

    async def close(self) -> None:
        """Close the socket; idempotent."""
        self._protocol.close()
        try:
            await self._socket.close()
        finally:
            await self._http.close()

    def _read(self) -> dict[str, Any] | None:
        """Read the event in the mailbox; None where the session was closed too early."""
        from dashscope.v2.errors import APIConnectionError, DashScopeError

        try:
            event: dict[str, Any] | None = self._protocol.recv_event()
        except APIConnectionError:
            return None
        except DashScopeError as error:
            raise self.said(error.message, error.code or "") from None
        except ValueError:
            raise ProviderUnavailable("DashScope sent a message that does not parse") from None
        return event


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
        """Do nothing: the time-outs are our own."""

    def close(self) -> None:
        """Closing takes a loop: `RealtimeConnection.close`."""


@lru_cache(maxsize=1)
def _client() -> Any:
    """Make the SDK's client; only its realtime part is used, keys are given per session."""
    with warnings.catch_warnings():
        # "a preview and may change": pyproject.toml bounds the version.
        warnings.simplefilter("ignore", FutureWarning)
        client = sdk().Client(api_key="given per session", base_url=BASE_URL)
        client.audio  # noqa: B018 - the first look at it is what warns
    return client


async def _handshake(
    http: aiohttp.ClientSession, mailbox: _Mailbox, connect: float
) -> aiohttp.ClientWebSocketResponse:
    import aiohttp

    try:
        async with asyncio.timeout(connect):
            return await http.ws_connect(
                mailbox.url,
                headers=mailbox.headers,
                proxy=proxy_for(mailbox.url),
                max_msg_size=_FRAME_LIMIT,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING),
            )
    except TimeoutError:
        raise connect_timeout(connect, shown_address(mailbox.url)) from None
    except aiohttp.WSServerHandshakeError as error:
        raise provider_error(
            f"DashScope refused the session with HTTP {error.status}",
            status=error.status if error.status >= 400 else 0,
            headers=error.headers,
        ) from None
    except transport_errors() as error:
        raise unreachable(error, shown_address(mailbox.url)) from None
