"""ElevenLabs' speech endpoint on loopback.

    POST /v1/text-to-speech/{voice}/stream/with-timestamps    a JSON object a line
    GET  /v1/voices
    GET  /v1/models

https://elevenlabs.io/docs/api-reference/text-to-speech/stream-with-timestamps
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, ClassVar

from speechfleet_worker.testing.http_server import HttpServer, Reply, Request
from speechfleet_worker.testing.wire import HTTP_FAULTS, Call, Fault


class ElevenLabsServer(HttpServer):
    """Speaks a character for each character of the text, and tells when."""

    faults: ClassVar[frozenset[str]] = HTTP_FAULTS - {"wrong_rate"}
    concurrent_limit = 10
    """Calls at once that the account is said to allow."""

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {"ELEVENLABS_BASE_URL": self.url, "ELEVENLABS_API_KEY": "fake"}

    async def respond(self, request: Request, reply: Reply) -> None:
        parts = request.path.strip("/").split("/")
        match request.method, parts:
            case "POST", ["v1", "text-to-speech", voice, "stream", "with-timestamps"]:
                body = {**request.json(), "voice": voice, **request.query}
                key = request.headers.get("xi-api-key", "")
                with self.begin(body, str(body.get("text", "")), key) as call:
                    await self._speech(call, reply)
            case "GET", ["v1", "voices"]:
                voices = [{"voice_id": "george", "name": "George"}]
                await reply.whole({"voices": voices})
            case "GET", ["v1", "models"]:
                models = [{"model_id": "eleven_flash_v2_5", "can_do_text_to_speech": True}]
                await reply.whole(json.dumps(models).encode())
            case _:
                await reply.whole(self.error_body(Fault("status", 404, "not_found")), 404)

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        return {"detail": {"status": fault.code, "message": fault.message}}

    async def _speech(self, call: Call, reply: Reply) -> None:
        if await self.refused(call, reply):
            return
        under_way = sum(other.outcome == "open" for other in self.calls)
        headers = {
            "request-id": f"req_{len(self.calls)}",
            "character-cost": str(call.characters),
            "current-concurrent-requests": str(under_way),
            "maximum-concurrent-requests": str(self.concurrent_limit),
        }
        reply.start("application/json", headers)
        aligned = 0
        async for piece in self.pieces(call):
            until = self._characters_until(call)
            await self._line(reply, piece, self._alignment(call.text, aligned, until))
            aligned = until
        if call.hit_by("malformed_frame"):
            await reply.write(b'{"audio_base64": "\n')
        elif call.fault and call.hit_by("error_frame"):
            await reply.write(json.dumps(self.error_body(call.fault)).encode() + b"\n")
        elif call.hit_by("early_end"):
            return  # without the last, empty chunk
        else:
            await self._line(reply, b"", self._alignment(call.text, aligned, len(call.text)))
        await reply.finish()

    async def _line(self, reply: Reply, audio: bytes, alignment: Mapping[str, Any]) -> None:
        line = {"audio_base64": b64encode(audio).decode("ascii"), "alignment": alignment}
        await reply.write(json.dumps(line).encode() + b"\n")

    def _characters_until(self, call: Call) -> int:
        size = 2 * self.sample_rate * self.milliseconds // 1000
        return min(call.bytes_sent // size, len(call.text))

    def _alignment(self, text: str, start: int, end: int) -> Mapping[str, Any]:
        seconds = self.milliseconds / 1000
        return {
            "characters": list(text[start:end]),
            "character_start_times_seconds": [at * seconds for at in range(start, end)],
            "character_end_times_seconds": [(at + 1) * seconds for at in range(start, end)],
        }
