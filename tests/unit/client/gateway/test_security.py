"""Names and addresses that mean this machine alone, and who may open a WebSocket."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from speechfleet.gateway.security import OriginCheck, is_loopback


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True),
        ("::1", True), ("a.localhost", True), ("", False), ("::", False), ("192.168.0.1", False),
        ("localhost.evil.example", False), ("10.0.0.1", False), ("evil.example", False),
    ],
)  # fmt: skip
def test_what_is_this_machine(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


async def answer_to_handshake(headers: dict[str, str], *, loopback_only: bool) -> int:
    """The status that a WebSocket of these headers gets; 101 where it reaches the application."""
    statuses: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        if message["type"] == "websocket.accept":
            statuses.append(101)
        if message["type"] == "websocket.http.response.start":
            statuses.append(message["status"])

    check = OriginCheck(application, origins=["https://app.example"], loopback_only=loopback_only)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await check({"type": "websocket", "headers": raw, "subprotocols": []}, receive, send)
    [status] = statuses
    return status


@pytest.mark.parametrize(
    ("headers", "loopback_only", "status"),
    [
        ({"host": "localhost:80"}, True, 101),
        ({"host": "localhost:80", "origin": "http://localhost:80"}, True, 101),
        ({"host": "localhost:80", "origin": "http://evil.example"}, True, 403),
        ({"host": "rebound.example"}, True, 403),
        ({"host": "localhost", "x-forwarded-for": "10.0.0.1"}, True, 403),
        ({"host": "speech.example", "origin": "https://app.example"}, False, 101),
        ({"host": "speech.example", "origin": "https://evil.example"}, False, 403),
        ({"host": "speech.example", "origin": "null"}, False, 403),
        ({"host": "speech.example"}, False, 101),
    ],
    ids=[
        "a program here", "a page of ours", "a page of another site", "a name that points here",
        "through a proxy", "a page that is let in", "a page that is not", "a sandboxed page",
        "a program with a key",
    ],
)  # fmt: skip
async def test_who_may_open_a_websocket(
    headers: dict[str, str], loopback_only: bool, status: int
) -> None:
    assert await answer_to_handshake(headers, loopback_only=loopback_only) == status
