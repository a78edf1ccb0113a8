"""OpenAI's realtime protocol on loopback, as far as it is used to read texts aloud.

    ws://127.0.0.1:PORT/v1/realtime?model=...

https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from itertools import count
from typing import Any

from websockets.asyncio.server import ServerConnection

from speechfleet_worker.testing.openai_server import KINDS
from speechfleet_worker.testing.websocket_server import WebSocketServer
from speechfleet_worker.testing.wire import Call, Fault

PATH = "/v1/realtime"


class OpenAIRealtimeServer(WebSocketServer):
    """Reads aloud what it is asked to, one response after the other.

    Besides the usual faults: ``paraphrase`` speaks and transcribes ``message`` instead of the
    text.
    """

    faults = WebSocketServer.faults - {"wrong_rate", "close_idle"} | {"paraphrase"}
    path = PATH

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server, as ``openai-realtime/...``.

        OPENAI_BASE_URL leads to the server of the other models.
        """
        endpoint = {"base_url": f"{self.url}/v1", "key_env": "OPENAI_API_KEY"}
        endpoints = json.dumps({"openai-realtime": endpoint})
        return {"SPEECHFLEET_ENDPOINTS": endpoints, "OPENAI_API_KEY": "fake"}

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        kind = KINDS.get(fault.status, "server_error")
        return {"error": {"type": kind, "code": fault.code, "message": fault.message}}

    async def converse(self, connection: ServerConnection, call: Call) -> None:
        numbers = count(1)

        async def send(kind: str, **fields: Any) -> None:
            event = {"event_id": f"event_{next(numbers)}", "type": kind, **fields}
            await connection.send(json.dumps(event))

        session: dict[str, Any] = {"id": f"sess_{len(self.calls)}", "type": "realtime"}
        await send("session.created", session=session)
        async for message in connection:
            event = json.loads(message)
            match event.get("type"):
                case "session.update":
                    session |= event["session"]
                    call.request["session"] = session
                    await send("session.updated", session=session)
                case "response.create":
                    speaking = self._respond(connection, call, event["response"], send)
                    if not await self.while_connected(connection, speaking):
                        return
                case other:
                    fault = Fault("error_frame", 400, "invalid_value", f"unknown: {other}")
                    await send("error", **self.error_body(fault))

    async def _respond(
        self, connection: ServerConnection, call: Call, order: Mapping[str, Any], send: Any
    ) -> bool:
        """Speak one response; whether the connection goes on after it."""
        text = "".join(part["text"] for item in order["input"] for part in item["content"])
        call.text, call.characters = text, self.count(text)
        call.request["responses"].append(dict(order))
        spoken = call.fault.message if call.fault and call.hit_by("paraphrase") else text
        number = len(call.request["responses"])
        response = {"id": f"resp_{number}", "status": "in_progress"}
        place = {"response_id": f"resp_{number}", "item_id": "item_1", "output_index": 0}
        await send("response.created", response=response)
        await send("response.output_item.added", **place)
        await send("response.content_part.added", **place, content_index=0)
        for word in spoken.split(" "):
            delta = f"{word} "
            await send("response.output_audio_transcript.delta", **place, delta=delta)
        async for piece in self.pieces(call, spoken):
            audio = b64encode(piece).decode("ascii")
            await send("response.output_audio.delta", **place, content_index=0, delta=audio)
        if call.hit_by("malformed_frame"):
            await connection.send('{"type":"response.output_audio.delta","delta":')
        elif call.fault and call.hit_by("error_frame"):
            await send("error", **self.error_body(call.fault))
        elif call.hit_by("close_1011"):
            await connection.close(1011, "internal error")
            return False
        elif call.hit_by("early_end"):
            await connection.close()
            return False
        else:
            await send("response.output_audio.done", **place)
            await send("response.output_audio_transcript.done", **place, transcript=spoken)
            usage = {"input_tokens": len(text), "output_tokens": call.bytes_sent // 2400}
            done = {"id": f"resp_{number}", "status": "completed", "usage": usage}
            await send("response.done", response=done)
        return True
