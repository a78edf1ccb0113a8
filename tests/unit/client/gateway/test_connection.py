"""Connections of HTTP clients: limits of the head, time-outs, HTTP/1.0, half-closed clients."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from speechfleet.gateway import connection
from speechfleet.gateway.connection import ClientConnection
from speechfleet.gateway.connection_limits import ConnectionLimits, Evictable

HEAD = b"GET /%s HTTP/1.1\r\nhost: a\r\n"


class App:
    """Answers at once, `/slow` when it is released, `/broken` in part."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            waiting = asyncio.create_task(self.released.wait())
            leaving = asyncio.create_task(self._leaving(receive))
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            leaving.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        if scope["path"] == "/broken":
            raise RuntimeError("in the middle")
        await send({"type": "http.response.body", "body": b"two"})

    async def _leaving(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


class WatchedLimits(ConnectionLimits):
    """Limits that wake whoever waits for a change of them."""

    def __init__(self, total: int, per_address: int) -> None:
        super().__init__(total, per_address)
        self.changed = asyncio.Event()

    def admit(self, connection: Evictable, address: str) -> bool:
        self.changed.set()
        return super().admit(connection, address)

    def mark_active(self, connection: Evictable) -> None:
        self.changed.set()
        super().mark_active(connection)

    def remove(self, connection: Evictable) -> None:
        self.changed.set()
        super().remove(connection)


class Served:
    """A server on loopback, and every connection that it made."""

    def __init__(self, limits: WatchedLimits, keep_alive: float) -> None:
        self.app = App()
        self.limits = limits
        self.made: list[weakref.ref[ClientConnection]] = []
        config = uvicorn.Config(
            self.app, lifespan="off", ws="none", log_config=None, timeout_keep_alive=keep_alive  # type: ignore[arg-type]
        )  # fmt: skip
        config.load()
        self._make = functools.partial(
            ClientConnection, config, ServerState(), {}, limits=limits
        )  # fmt: skip
        self.port = 0

    def make(self) -> ClientConnection:
        one = self._make()
        self.made.append(weakref.ref(one, lambda _: self.limits.changed.set()))
        return one

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_true():
                await self.limits.changed.wait()
                self.limits.changed.clear()
                await asyncio.sleep(0)  # what was about to change has changed

    def busy(self) -> int:
        """The connections with a request under way."""
        alive = [one for made in self.made if (one := made()) is not None]
        return sum(not one.is_idle for one in alive)

    async def open(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        await writer.drain()
        return reader, writer

    async def ask(self, data: bytes) -> bytes:
        """All that comes back until the server closes."""
        reader, writer = await self.open(data)
        answer = await reader.read()
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def served(
    total: int = 100, per_address: int = 100, keep_alive: float = 30.0
) -> AsyncGenerator[Served, None]:
    one = Served(WatchedLimits(total, per_address), keep_alive)
    server = await asyncio.get_running_loop().create_server(one.make, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(HEAD % b"a" + b"x: " + b"a" * 1_000_000, id="value"),
        pytest.param(b"GET /" + b"a" * 1_000_000, id="request-line"),
        pytest.param(HEAD % b"a" + b"x: y\r\n" * 101 + b"\r\n", id="fields"),
        pytest.param(HEAD % b"a" + (b"x: " + b"a" * 1000 + b"\r\n") * 90, id="many-kilobytes"),
    ],
)
async def test_a_head_without_bounds_is_refused(head: bytes) -> None:
    async with served() as server:
        reader, writer = await server.open()
        writer.write(head)
        status = await reader.readline()
        assert status.startswith(b"HTTP/1.1 431 ")
        writer.close()


async def test_a_head_within_the_bounds_is_taken() -> None:
    async with served() as server:
        large = (b"x: " + b"a" * 600 + b"\r\n") * 98
        answer = await server.ask(HEAD % b"a" + large + b"connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "trailers",
    [b"x: " + b"a" * 300_000, b"x: y\r\n" * 60_000, b"0" * 300_000],
    ids=["value", "fields", "chunk-size"],
)
async def test_what_follows_a_body_has_a_limit(trailers: bytes) -> None:
    head = b"POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    async with served() as server:
        _, writer = await server.open(head + b"4\r\nbody\r\n0\r\n")
        writer.write(trailers)
        await server.app.left.wait()
        writer.close()


async def test_trailers_are_no_headers() -> None:
    head = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close"
    async with served() as server:
        answer = await server.ask(head + b"\r\n\r\n0\r\nauthorization: Bearer late\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_closed_connection_leaves_nothing_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        async with served() as server:
            for data in (b"", HEAD % b"a" + b"x: " + b"a" * 9000, HEAD % b"a" + b"\r\n"):
                _, writer = await server.open(data)
                await asyncio.sleep(0)
                writer.close()
                await writer.wait_closed()
            await server.until(lambda: not any(one() for one in server.made))
            assert len(server.limits) == 0
            assert len(server.made) == 3
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("data", "answer"), [(b"", b""), (HEAD % b"a" + b"x-a: ", b"HTTP/1.1 408 ")],
    ids=["nothing", "half-a-head"],
)  # fmt: skip
async def test_a_client_that_sends_no_whole_head_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, data: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.05)
    is_late = ClientConnection._head_is_late

    def once_it_came(one: ClientConnection) -> None:
        """However long the machine took to send what it sends."""
        if data and not one._is_in_head:
            one._timer.start(0.01, one._head_is_late)
        else:
            is_late(one)

    monkeypatch.setattr(ClientConnection, "_head_is_late", once_it_came)
    async with served() as server:
        assert (await server.ask(data)).startswith(answer)


async def test_an_idle_connection_outlives_the_time_of_a_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is short here as long as the connection is idle; no head has to come meanwhile."""
    plain = connection.HEAD_TIMEOUT_S
    async with served() as server:
        reader, writer = await server.open(HEAD % b"slow" + b"\r\n")
        await server.until(lambda: server.busy() == 1)
        monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.05)
        server.app.released.set()
        await reader.readuntil(b"0\r\n\r\n")
        await asyncio.sleep(0.3)
        monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", plain)
        writer.write(HEAD % b"b" + b"connection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_the_rest_of_an_answered_body_must_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "DRAIN_TIMEOUT_S", 0.05)
    async with served() as server:
        reader, writer = await server.open(HEAD % b"a" + b"content-length: 10\r\n\r\nhalf")
        with contextlib.suppress(ConnectionResetError):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_idle_connections_make_room_for_new_ones() -> None:
    async with served(total=3) as server:
        idle = [await server.open() for _ in range(10)]
        answer = await server.ask(HEAD % b"a" + b"connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert len(server.limits) <= 3
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize(
    "limits", [{"total": 2}, {"per_address": 2}], ids=["in-all", "of-an-address"]
)
async def test_where_all_are_at_work_a_new_one_is_refused(limits: dict[str, Any]) -> None:
    async with served(**limits) as server:
        busy = [await server.open(HEAD % b"slow" + b"\r\n") for _ in range(2)]
        await server.until(lambda: server.busy() == 2)
        assert (await server.ask(b"")).startswith(b"HTTP/1.1 503 ")
        server.app.released.set()
        for reader, writer in busy:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()


CHUNKED = b"POST /%s HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\r\n-1\r\n"], ids=["size", "end", "later"]
)
async def test_a_malformed_body_is_named(body: bytes) -> None:
    async with served() as server:
        reader, writer = await server.open(CHUNKED % b"slow")
        await server.until(lambda: server.busy() == 1)
        writer.write(body)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"malformed_request" in answer
        assert answer.count(b"HTTP/1.1") == 1
        async with asyncio.timeout(60):
            await server.app.left.wait()
        writer.close()


async def test_a_malformed_body_cannot_be_named_once_it_is_answered() -> None:
    async with served() as server:
        reader, writer = await server.open(CHUNKED % b"a")
        answer = await reader.readuntil(b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        writer.write(b"zz\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_what_follows_a_request_spoils_no_answer_to_it() -> None:
    async with served() as server:
        reader, writer = await server.open(HEAD % b"slow" + b"\r\n")
        await server.until(lambda: server.busy() == 1)
        writer.write(b"no HTTP\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_only_http_1_1_gets_chunks(version: bytes) -> None:
    async with served() as server:
        answer = await server.ask(
            b"GET /a HTTP/" + version + b"\r\nhost: a\r\nconnection: close\r\n\r\n"
        )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (b"chunked" in head) == (version == b"1.1")
    assert (body == b"one two") == (version == b"1.0")


async def test_a_broken_answer_is_no_whole_one_for_http_1_0(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served() as server:
        with pytest.raises(ConnectionResetError):
            await server.ask(b"GET /broken HTTP/1.0\r\n\r\n")
    assert "in the middle" in caplog.text


@pytest.mark.parametrize("closing", [b"connection: close\r\n", b""], ids=["announced", "silent"])
async def test_a_client_that_shut_its_sending_side_gets_its_answer(closing: bytes) -> None:
    async with served() as server:
        reader, writer = await server.open(HEAD % b"slow" + closing + b"\r\n")
        writer.write_eof()
        await server.until(lambda: server.busy() == 1)
        server.app.released.set()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"two\r\n0\r\n\r\n")
        writer.close()


async def test_a_client_that_left_is_noticed_before_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "PROBE_INTERVALS_S", (0.05, 0.05))
    async with served() as server:
        _, writer = await server.open(HEAD % b"slow" + b"\r\n")
        writer.close()
        async with asyncio.timeout(60):
            await server.app.left.wait()
