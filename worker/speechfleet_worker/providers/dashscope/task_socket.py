"""DashScope's task protocol on the event loop: one socket, and one task after another over it.

https://www.alibabacloud.com/help/en/model-studio/cosyvoice-websocket-api

    run-task ─▶ task-started ─▶ continue-task (text) ... finish-task
             ◀─ result-generated (sentence-begin, audio as binary frames, sentence-end) ...
             ◀─ task-finished, or task-failed

The SDK's clients cost a thread a call and hide how a connection ended, so this speaks the
protocol itself, over `websockets`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from speechfleet.errors import MissingExtra, ProviderError, ProviderUnavailable
from speechfleet_worker.providers import failures
from speechfleet_worker.providers.dashscope.transport import provider_error, proxy_for
from speechfleet_worker.providers.failures import shown_address
from speechfleet_worker.providers.timeouts import connect_timeout

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import InvalidStatus

TASK_URL = "wss://dashscope.aliyuncs.com/api-ws/v1/inference"
URL_VARIABLE = "DASHSCOPE_WEBSOCKET_BASE_URL"
"""The SDK's own name for it."""
_FRAME_LIMIT = 16 << 20
_CLOSING_S = 1.0


class TaskSocket:
    """An open connection. Errors leave it mapped; after one it is of no more use."""

    def __init__(self, connection: ClientConnection, address: str, secret: str) -> None:
        """Use `open`."""
        self._connection = connection
        self._address = address
        self._secret = secret

    @classmethod
    async def open(
        cls,
        *,
        api_key: str,
        url: str | None = None,
        workspace: str | None = None,
        headers: Mapping[str, str] | None = None,
        connect: float,
    ) -> Self:
        """Connect within ``connect`` seconds. Without ``url``: the variable's, or DashScope's."""
        try:
            from websockets.asyncio.client import connect as connecting
            from websockets.exceptions import InvalidStatus, WebSocketException
        except ModuleNotFoundError:
            raise MissingExtra("DashScope's task protocol", "dashscope") from None
        url = url or os.environ.get(URL_VARIABLE) or TASK_URL
        address = shown_address(url)
        sent = {"Authorization": f"Bearer {api_key}", **(headers or {})}
        if workspace:
            sent["X-DashScope-WorkSpace"] = workspace
        try:
            connection = await connecting(
                url,
                additional_headers=sent,
                compression=None,
                max_size=_FRAME_LIMIT,
                open_timeout=connect,
                close_timeout=_CLOSING_S,
                proxy=proxy_for(url),
            )
        except InvalidStatus as error:
            raise _refused(error, api_key) from None
        except TimeoutError:
            raise connect_timeout(connect, address) from None
        except (WebSocketException, OSError) as error:
            raise failures.unreachable(address, error) from None
        return cls(connection, address, api_key)

    async def send(self, action: str, task: str, payload: Mapping[str, Any]) -> None:
        """Send an instruction for a task."""
        from websockets.exceptions import ConnectionClosed

        header = {"action": action, "task_id": task, "streaming": "duplex"}
        try:
            await self._connection.send(json.dumps({"header": header, "payload": payload}))
        except (ConnectionClosed, OSError) as error:
            raise failures.unreachable(self._address, error) from None

    async def receive(self) -> bytes | dict[str, Any]:
        """Receive audio, or an event. Raises ProviderError, also for an event ``task-failed``."""
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            raise ProviderUnavailable(
                f"{self._address} closed the connection before the task was finished ({error})"
            ) from None
        except OSError as error:
            raise failures.unreachable(self._address, error) from None
        if isinstance(message, bytes):
            return message
        try:
            event = json.loads(message)
            header = event["header"]
        except (ValueError, TypeError, KeyError):
            raise ProviderUnavailable("DashScope sent a message that does not parse") from None
        if header.get("event") == "task-failed":
            raise self._failed(header)
        return dict(event)

    async def close(self) -> None:
        """Close the connection; idempotent."""
        await self._connection.close()

    def _failed(self, header: Mapping[str, Any]) -> ProviderError:
        return provider_error(
            str(header.get("error_message") or ""),
            code=str(header.get("error_code") or ""),
            request_id=str(header.get("task_id") or ""),
            secret=self._secret,
        )


def new_task_id() -> str:
    return uuid.uuid4().hex


def _refused(error: InvalidStatus, secret: str) -> ProviderError:
    """Make the error for a handshake that was answered with an HTTP status."""
    answer = error.response
    if failures.is_redirect(answer.status_code):
        return failures.redirected(answer.status_code)
    try:
        body = json.loads(bytes(answer.body or b"{}"))
        code, message = str(body.get("code") or ""), str(body.get("message") or "")
    except (ValueError, AttributeError):
        code, message = "", ""
    return provider_error(
        message,
        code=code,
        status=answer.status_code,
        headers=dict(answer.headers.raw_items()),
        secret=secret,
    )
