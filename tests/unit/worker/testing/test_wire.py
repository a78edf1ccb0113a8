"""The wire servers themselves: what they say they do is what tests rely on."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse, IncompleteRead

import pytest

from speechfleet_worker.testing.http_server import HttpServer
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import DeafServer, Fault, speech


def post(server: HttpServer, text: str, key: str = "k") -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    with closing(connection):
        body = json.dumps({"input": text, "response_format": "pcm"})
        headers = {"authorization": f"Bearer {key}"}
        connection.request("POST", "/v1/audio/speech", body, headers)
        answer = connection.getresponse()
        return answer, answer.read()


def test_the_speech_of_a_text_begins_with_that_of_its_beginning() -> None:
    whole = speech("hello you")
    assert whole.startswith(speech("hello"))
    assert len(whole) == 9 * 60 * 24 * 2
    assert speech("a") != speech("b")
    assert speech(" ") == bytes(60 * 24 * 2)
    assert len(speech("hi", 16_000, 10)) == 2 * 10 * 16 * 2


def test_a_server_in_a_thread_speaks_and_keeps_its_ledger() -> None:
    with OpenAIServer(milliseconds=10).thread() as server:
        assert post(server, "hello")[1] == speech("hello", 24_000, 10)
        server.script(Fault("status", 429, "busy", retry_after="3"), None)
        answer, body = post(server, "again")
        assert answer.status == 429
        assert answer.headers["retry-after"] == "3"
        assert json.loads(body)["error"]["code"] == "busy"
        post(server, "you")
        server.wait(lambda s: s.calls[-1].outcome != "open")
        assert [(call.text, call.outcome, call.billed) for call in server.calls] == [
            ("hello", "finished", True),
            ("again", "failed", False),
            ("you", "finished", True),
        ]
        assert server.characters == len("hello") + len("you")


def test_a_key_that_is_not_known_is_refused() -> None:
    with OpenAIServer(keys=["mine"]).thread() as server:
        assert post(server, "hi", "mine")[0].status == 200
        assert post(server, "hi", "yours")[0].status == 401
        assert server.characters == 2


def test_a_fault_that_the_protocol_does_not_know_is_a_mistake_in_the_test() -> None:
    with pytest.raises(ValueError, match="OpenAIServer has no fault 'blocked'"):
        OpenAIServer().script(Fault("blocked"))


async def test_the_ledger_can_be_waited_for() -> None:
    async with OpenAIServer() as server:
        waiting = asyncio.ensure_future(server.until(lambda s: s.characters == 2))
        await asyncio.to_thread(post, server, "hi")
        await waiting
        with pytest.raises(TimeoutError):
            await server.until(lambda s: s.characters == 3, timeout=0.01)


async def test_a_dropped_connection_is_reset() -> None:
    async with OpenAIServer() as server:
        for kind in ("drop_before", "drop_middle"):
            server.script(Fault(kind))
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(post, server, "hello")
        assert [call.outcome for call in server.calls] == ["failed", "failed"]


async def test_stopping_closes_what_is_open() -> None:
    async with OpenAIServer() as server:
        server.script(Fault("stall"))
        call = asyncio.ensure_future(asyncio.to_thread(post, server, "hello"))
        await server.until(lambda s: bool(s.calls) and s.calls[0].bytes_sent > 0)
    with pytest.raises(IncompleteRead):
        await call
    assert server.calls[0].outcome == "aborted"
    assert not server.connections


async def test_nobody_gets_through_to_a_deaf_server() -> None:
    async with DeafServer() as server:
        client = socket.socket()
        client.setblocking(False)
        connecting = asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.port))
        with client, pytest.raises(TimeoutError):
            await asyncio.wait_for(connecting, 0.2)


async def test_one_command_runs_them_all() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "speechfleet_worker.testing", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().strip()]
    while lines[-1] != "ready":
        lines.append((await process.stdout.readline()).decode().strip())
    process.terminate()
    await process.wait()
    environment = dict(line.split("=", 1) for line in lines[:-1])
    assert set(environment) == {
        *("OPENAI_BASE_URL", "OPENAI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_API_KEY"),
        *("DASHSCOPE_HTTP_BASE_URL", "DASHSCOPE_API_KEY", "DASHSCOPE_REALTIME_URL"),
        *("DASHSCOPE_WEBSOCKET_BASE_URL", "ELEVENLABS_API_KEY", "ELEVENLABS_BASE_URL"),
        *("AWS_ENDPOINT_URL_POLLY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        "SPEECHFLEET_ENDPOINTS",
    }
    assert all(":" in value for name, value in environment.items() if name.endswith("_URL"))
