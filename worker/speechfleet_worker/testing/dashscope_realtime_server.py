"""DashScope's realtime speech protocol (Qwen-TTS-Realtime) on loopback.

    ws://127.0.0.1:PORT/api-ws/v1/realtime?model=...

A session is one entry of the ledger: its ``text`` is what was spoken, response by response
(``request["responses"]``), and ``characters`` what these would have been billed.

https://www.alibabacloud.com/help/en/model-studio/qwen-tts-realtime-client-events
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from speechfleet.provider_billing import han_twice
from speechfleet_worker.testing.websocket_server import WebSocketServer
from speechfleet_worker.testing.wire import Call, Fault

PATH = "/api-ws/v1/realtime"
_SENTENCE = re.compile(r".*?[.!?。！？]+(?=\s|[^\x00-\x7f]|$)\s*", re.DOTALL)


class DashScopeRealtimeServer(WebSocketServer):
    """``sentences``: in server_commit mode whole sentences are spoken as they come; else all
    text waits for a commit or for the finish.
    """

    path = PATH

    def __init__(self, *, sentences: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.sentences = sentences

    def count(self, text: str) -> int:
        return han_twice(text)

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {"DASHSCOPE_REALTIME_URL": self.websocket_url, "DASHSCOPE_API_KEY": "fake"}

    async def converse(self, connection: ServerConnection, call: Call) -> None:
        await _Session(self, connection, call).run()

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        return error_event(fault)


class _Session:
    """Serves a socket: reads client events, and answers one after the other."""

    def __init__(
        self, server: DashScopeRealtimeServer, connection: ServerConnection, call: Call
    ) -> None:
        self._server = server
        self._connection = connection
        self._call = call
        self._number = len(server.calls)
        self._buffer = ""
        self._mode = "server_commit"
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()
        self._all_said = False
        self._response: asyncio.Task[bool] | None = None

    async def run(self) -> None:
        await self._send("session.created", session={"id": f"sess_{self._number}"})
        reader = asyncio.create_task(self._read())
        speaker = asyncio.create_task(self._speak())
        try:
            await asyncio.wait({reader, speaker}, return_when=asyncio.FIRST_COMPLETED)
            # Whoever is done first decides: the client left, or everything is said. A client
            # that leaves on "session.finished" itself has left after everything was said.
            if not self._all_said:
                await (reader if reader.done() else speaker)
        finally:
            for task in (reader, speaker):
                task.cancel()
            await asyncio.gather(reader, speaker, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._connection:
            event = json.loads(message)
            if not str(event.get("event_id", "")).startswith("event_"):
                await self._refuse("an event needs an event_id")
            await self._on(event)
        raise ConnectionClosed(None, None)

    async def _on(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                await self._update(event["session"])
            case "input_text_buffer.append":
                self._buffer += event["text"]
                self._take_sentences()
            case "input_text_buffer.commit":
                await self._commit()
            case "input_text_buffer.clear":
                self._buffer = ""
                await self._send("input_text_buffer.cleared")
            case "response.cancel":
                if self._response is not None:
                    self._response.cancel()
            case "session.finish":
                self._finish()
            case other:
                await self._refuse(f"unknown event {other!r}")

    async def _commit(self) -> None:
        if not self._buffer.strip():
            await self._refuse("the buffer is empty")
            return
        await self._send("input_text_buffer.committed", item_id="item_1")
        self._take(len(self._buffer))

    def _finish(self) -> None:
        # In commit mode what was not committed is lost: nobody asked for it.
        if self._mode == "server_commit" and self._buffer.strip():
            self._take(len(self._buffer))
        self._texts.put_nowait(None)

    async def _update(self, session: Mapping[str, Any]) -> None:
        if session.get("voice") == "nobody" or session.get("mode") not in (
            "commit",
            "server_commit",
        ):
            await self._refuse("voice or mode is not valid")
            return
        self._mode = session["mode"]
        self._call.request["session"] = dict(session)
        rate = self._server.rate(self._call)
        full = {**session, "id": f"sess_{self._number}", "sample_rate": rate}
        await self._send("session.updated", session=full)
        if self._call.hit_by("close_idle"):
            await self._connection.close()

    def _take_sentences(self) -> None:
        if self._mode == "commit" or not self._server.sentences:
            return
        while found := _SENTENCE.match(self._buffer):
            if found.end() == len(self._buffer):
                return  # more of it may follow
            self._take(found.end())

    def _take(self, end: int) -> None:
        self._texts.put_nowait(self._buffer[:end])
        self._buffer = self._buffer[end:]

    async def _speak(self) -> None:
        while (text := await self._texts.get()) is not None:
            self._response = asyncio.create_task(self._respond(text))
            done, _ = await asyncio.wait({self._response})
            if self._response.cancelled():
                await self._done("cancelled", text)
            elif not done.pop().result():
                return
        self._all_said = True
        await self._send("session.finished")
        await self._connection.close()

    async def _respond(self, text: str) -> bool:
        """Speak one response; whether the session goes on after it."""
        call, number = self._call, len(self._call.request["responses"])
        call.text += text
        call.characters += self._server.count(text)
        call.request["responses"].append(text)
        identity = {"response_id": f"resp_{number}", "item_id": f"item_{number}"}
        await self._send("response.created", response={"id": f"resp_{number}"})
        await self._send("response.output_item.added", **identity)
        await self._send("response.content_part.added", **identity)
        async for piece in self._server.pieces(call, text):
            audio = b64encode(piece).decode()
            await self._send("response.audio.delta", **identity, delta=audio)
        if await self._fail():
            return False
        await self._send("response.audio.done", **identity)
        await self._send("response.content_part.done", **identity)
        await self._send("response.output_item.done", **identity)
        await self._done("completed", text)
        return True

    async def _done(self, status: str, text: str) -> None:
        number = len(self._call.request["responses"]) - 1
        usage = {"characters": self._server.count(text), "output_tokens": 0, "input_tokens": 0}
        response = {"id": f"resp_{number}", "status": status, "usage": usage}
        await self._send("response.done", response=response)

    async def _fail(self) -> bool:
        """End the session if the fault says so; tell whether it did."""
        call = self._call
        if call.hit_by("malformed_frame"):
            await self._connection.send('{"type":"response.audio.delta","delta":')
        elif call.fault and call.hit_by("error_frame"):
            await self._connection.send(json.dumps(error_event(call.fault)))
        elif call.hit_by("close_1011"):
            await self._connection.close(1011, "internal error")
        elif call.hit_by("early_end"):
            await self._connection.close()
        else:
            return False
        return True

    async def _refuse(self, message: str) -> None:
        fault = Fault("error_frame", 400, "invalid_value", message)
        await self._connection.send(json.dumps(error_event(fault)))

    async def _send(self, kind: str, **fields: Any) -> None:
        event = {"event_id": f"event_{self._number}", "type": kind, **fields}
        await self._connection.send(json.dumps(event))


def error_event(fault: Fault) -> dict[str, Any]:
    """Make the protocol's ``error`` event."""
    code = fault.code or ("invalid_value" if fault.status == 400 else "internal_error")
    return {
        "event_id": "event_0",
        "type": "error",
        "error": {"code": code, "message": fault.message},
    }
