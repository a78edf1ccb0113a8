"""DashScope's task protocol (CosyVoice, Qwen-Audio-TTS) on loopback.

    ws://127.0.0.1:PORT/api-ws/v1/inference

https://www.alibabacloud.com/help/en/model-studio/cosyvoice-websocket-api
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from speechfleet.provider_billing import han_twice
from speechfleet_worker.testing.websocket_server import WebSocketServer
from speechfleet_worker.testing.wire import Call, Fault

PATH = "/api-ws/v1/inference"
_WORD = re.compile(r"\S+")


class DashScopeTaskServer(WebSocketServer):
    """Speaks each task's text once it is finished. Faults are per task.

    The first task of a connection is the call that its handshake began; each later one is a
    call of its own.
    """

    faults = WebSocketServer.faults - {"wrong_rate", "close_idle"}
    path = PATH
    model_in_query = False

    def count(self, text: str) -> int:
        return han_twice(text)

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {
            "DASHSCOPE_WEBSOCKET_BASE_URL": self.websocket_url,
            "DASHSCOPE_API_KEY": "fake",
        }

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        return {"code": fault.code or "InternalError", "message": fault.message}

    async def converse(self, connection: ServerConnection, call: Call) -> None:
        await _Tasks(self, connection).serve(call)
        while True:
            message = json.loads(await connection.recv())
            with self.begin({"session": {}, "responses": []}, "", call.key) as another:
                await _Tasks(self, connection).serve(another, message)


class _Tasks:
    """A task: takes its text, then speaks it."""

    def __init__(self, server: DashScopeTaskServer, connection: ServerConnection) -> None:
        self._server = server
        self._connection = connection
        self._task = ""

    async def serve(self, call: Call, first: Mapping[str, Any] | None = None) -> None:
        message = first or json.loads(await self._connection.recv())
        self._task = message["header"]["task_id"]
        if message["header"]["action"] != "run-task":
            await self._fail("InvalidParameter", "a task begins with run-task")
            return
        call.request["session"] = message["payload"]
        await self._send("task-started")
        await self._take_text(call)
        await self._server.while_connected(self._connection, self._speak(call))

    async def _take_text(self, call: Call) -> None:
        while True:
            message = json.loads(await self._connection.recv())
            given = message["payload"]["input"]
            match message["header"]["action"]:
                case "continue-task" if "text" in given:
                    call.text += given["text"]
                    call.request["responses"].append(given["text"])
                case "continue-task":
                    call.request["responses"].append("flush")
                case "finish-task":
                    call.characters = self._server.count(call.text)
                    return

    async def _speak(self, call: Call) -> None:
        await self._result("sentence-begin", original_text=call.text)
        async for piece in self._server.pieces(call):
            await self._result("sentence-synthesis")
            await self._connection.send(piece)
        fault = call.fault
        if call.hit_by("malformed_frame"):
            await self._connection.send('{"header": {"event":')
        elif fault is not None and call.hit_by("error_frame", "status"):
            await self._fail(fault.code or "InternalError", fault.message)
        elif call.hit_by("close_1011"):
            await self._connection.close(1011, "internal error")
        elif call.hit_by("early_end"):
            await self._connection.close()
        else:
            sentence = {"index": 0, "words": self._words(call)}
            await self._result("sentence-end", sentence=sentence)
            await self._send("task-finished", usage={"characters": call.characters})
            return
        await asyncio.sleep(0)
        await self._connection.close()
        raise ConnectionClosed(None, None)

    def _words(self, call: Call) -> list[dict[str, Any]]:
        if not call.request["session"]["parameters"].get("word_timestamp_enabled"):
            return []
        milliseconds = self._server.milliseconds
        return [
            {
                "text": word.group(),
                "begin_index": word.start(),
                "end_index": word.end(),
                "begin_time": word.start() * milliseconds,
                "end_time": word.end() * milliseconds,
            }
            for word in _WORD.finditer(call.text)
        ]

    async def _result(self, kind: str, **output: Any) -> None:
        await self._send("result-generated", output={"type": kind, **output})

    async def _fail(self, code: str, message: str) -> None:
        header = {"event": "task-failed", "error_code": code, "error_message": message}
        await self._emit(header, {})

    async def _send(self, event: str, **payload: Any) -> None:
        await self._emit({"event": event}, payload)

    async def _emit(self, header: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
        event = {"header": {"task_id": self._task, "attributes": {}, **header}, "payload": payload}
        await self._connection.send(json.dumps(event))
