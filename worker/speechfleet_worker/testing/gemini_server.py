"""Gemini's speech generation on loopback.

    POST /{version}/models/{model}:streamGenerateContent?alt=sse    raw PCM, piece by piece
    POST /{version}/models/{model}:generateContent                  a whole WAV

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from speechfleet_worker.testing.http_server import HttpServer, Reply, Request
from speechfleet_worker.testing.openai_server import wav_header
from speechfleet_worker.testing.wire import HTTP_FAULTS, Call, Fault

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class GeminiServer(HttpServer):
    """Two faults of its own: ``finish`` ends with the reason ``code`` in place of STOP after
    ``after`` bytes; ``blocked`` refuses the prompt for the reason ``code``."""

    faults = HTTP_FAULTS | {"finish", "blocked"}

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {"GOOGLE_GEMINI_BASE_URL": self.url, "GOOGLE_API_KEY": "fake"}

    async def respond(self, request: Request, reply: Reply) -> None:
        _, _, method = request.path.rpartition(":")
        if request.method != "POST" or method not in ("generateContent", "streamGenerateContent"):
            missing = Fault("status", 404, message="no such method")
            await reply.whole(self.error_body(missing), 404)
            return
        body = request.json()
        parts = (p for c in body.get("contents", []) for p in c.get("parts", []))
        text = "".join(str(part.get("text", "")) for part in parts)
        with self.begin(body, text, request.headers.get("x-goog-api-key", "")) as call:
            if await self.refused(call, reply):
                return
            if method == "streamGenerateContent":
                await self._stream(call, reply)
            else:
                await self._whole(call, reply)

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        error: dict[str, Any] = {"code": fault.status, "message": fault.message}
        error["status"] = fault.code or STATUSES.get(fault.status, "INTERNAL")
        if fault.retry_after:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": f"{fault.retry_after}s"}]
        return {"error": error}

    async def _stream(self, call: Call, reply: Reply) -> None:
        reply.start("text/event-stream")
        mime = f"audio/L16;codec=pcm;rate={self.rate(call)}"
        async for piece in self.pieces(call):
            await reply.event(_answer(mime, piece), end="\r\n\r\n")
        if call.hit_by("malformed_frame"):
            await reply.event('{"candidates":[{"content":', end="\r\n\r\n")
        elif call.fault and call.hit_by("error_frame"):
            await reply.event(self.error_body(call.fault), end="\r\n\r\n")
        elif not call.hit_by("early_end"):
            await reply.event(self._last(call), end="\r\n\r\n")
        await reply.finish()

    async def _whole(self, call: Call, reply: Reply) -> None:
        audio = b"".join([piece async for piece in self.pieces(call)])
        wav = wav_header(self.rate(call), len(audio)) + audio
        answer = _answer("audio/wav", wav)
        answer["candidates"][0] |= {"finishReason": self._reason(call)}
        await reply.whole(self._last(call) | answer)

    def _last(self, call: Call) -> dict[str, Any]:
        if call.fault and call.hit_by("blocked"):
            return {"promptFeedback": {"blockReason": call.fault.code or "PROHIBITED_CONTENT"}}
        tokens = {"promptTokenCount": len(call.text), "candidatesTokenCount": call.bytes_sent}
        return {
            "candidates": [{"content": {}, "finishReason": self._reason(call), "index": 0}],
            "usageMetadata": tokens,
            "modelVersion": "wire",
            "responseId": f"resp-{len(self.calls)}",
        }

    @staticmethod
    def _reason(call: Call) -> str:
        return call.fault.code or "OTHER" if call.fault and call.hit_by("finish") else "STOP"


def _answer(mime: str, audio: bytes) -> dict[str, Any]:
    inline = {"mimeType": mime, "data": b64encode(audio).decode("ascii")}
    return {"candidates": [{"content": {"parts": [{"inlineData": inline}], "role": "model"}}]}
