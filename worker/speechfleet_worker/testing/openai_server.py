"""OpenAI's speech endpoint on loopback, and the dialects of the servers that imitate it.

    POST /v1/audio/speech    chunked PCM or WAV, or server-sent events
    GET  /v1/audio/voices    as compatible servers have it (OpenAI itself answers 404)
    GET  /v1/models

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Literal

from speechfleet_worker.testing.http_server import HttpServer, Reply, Request
from speechfleet_worker.testing.wire import Call, Fault

KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}


class OpenAIServer(HttpServer):
    """``flavour``: whose errors and voices these are."""

    def __init__(
        self, *, flavour: Literal["openai", "kokoro", "vllm"] = "openai", **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.flavour = flavour
        self.voices = ["af_heart", "af_bella", "bm_george"]

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "fake"}

    async def respond(self, request: Request, reply: Reply) -> None:
        match request.method, request.path:
            case "POST", "/v1/audio/speech":
                body = request.json()
                with self.begin(body, str(body.get("input", "")), request.bearer) as call:
                    await self._speech(call, reply)
            case "GET", "/v1/audio/voices" if self.flavour != "openai":
                await reply.whole({"voices": self.voices})
            case "GET", "/v1/models":
                await reply.whole({"object": "list", "data": [{"id": "gpt-4o-mini-tts"}]})
            case _:
                missing = Fault("status", 404, "not_found", "no such path")
                await reply.whole(self.error_body(missing), 404)

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        match self.flavour:
            case "kokoro":
                return {"detail": {"error": fault.code, "message": fault.message}}
            case "vllm":
                return {"error": {"message": fault.message, "type": "Error", "code": fault.status}}
        error = {"message": fault.message, "type": KINDS.get(fault.status, "server_error")}
        return {"error": {**error, "param": None, "code": fault.code or None}}

    async def _speech(self, call: Call, reply: Reply) -> None:
        if await self.refused(call, reply):
            return
        if call.request.get("stream_format") == "sse":
            await self._events(call, reply)
        else:
            await self._raw(call, reply)

    async def _raw(self, call: Call, reply: Reply) -> None:
        rate = self.rate(call)
        wav = call.request.get("response_format") == "wav" or self.flavour == "vllm"
        media_type = "audio/wav" if wav else "audio/pcm"
        if call.hit_by("wrong_rate") and not wav:
            media_type += f";rate={rate}"
        reply.start(media_type, {"x-request-id": f"req_{len(self.calls)}"})
        if wav:
            await reply.write(wav_header(rate))
        async for piece in self.pieces(call):
            await reply.write(piece)
        if not call.hit_by("early_end", "malformed_frame", "error_frame"):
            await reply.finish()
        # Without the last, empty chunk the connection just closes: cut short, and seen as such.

    async def _events(self, call: Call, reply: Reply) -> None:
        reply.start("text/event-stream", {"x-request-id": f"req_{len(self.calls)}"})
        # An event has no room for the rate: servers at another one wrap the audio in a WAV.
        header = wav_header(self.rate(call)) if call.hit_by("wrong_rate") else b""
        async for piece in self.pieces(call):
            audio = b64encode(header + piece).decode("ascii")
            header = b""
            await reply.event({"type": "speech.audio.delta", "audio": audio})
        if call.hit_by("malformed_frame"):
            await reply.event('{"type":"speech.audio.delta","audio":')
        elif call.fault and call.hit_by("error_frame"):
            body = self.error_body(call.fault)
            await reply.event({"type": "speech.audio.error", **body})
        elif not call.hit_by("early_end"):
            usage = {"input_tokens": len(call.text), "output_tokens": call.bytes_sent // 2400}
            usage["total_tokens"] = sum(usage.values())
            await reply.event({"type": "speech.audio.done", "usage": usage})
        await reply.finish()


def wav_header(sample_rate: int, size: int = 0xFFFFFFFF) -> bytes:
    """Make the header of mono s16le; a streamed WAV writes 0xFFFFFFFF for its size."""
    rest = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", min(size + 36, 0xFFFFFFFF), b"WAVE")
    return riff + struct.pack("<4sI", b"fmt ", 16) + rest + struct.pack("<4sI", b"data", size)
