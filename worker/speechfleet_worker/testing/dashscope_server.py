"""DashScope's speech endpoint (Qwen-TTS) on loopback.

    POST /api/v1/services/aigc/multimodal-generation/generation    events, or a URL alone
    GET  /results/<number>.wav                                     behind that URL

https://www.alibabacloud.com/help/en/model-studio/qwen-tts-api
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from speechfleet.provider_billing import han_twice
from speechfleet_worker.testing.http_server import HttpServer, Reply, Request
from speechfleet_worker.testing.openai_server import wav_header
from speechfleet_worker.testing.wire import HTTP_FAULTS, Call, Fault, speech

PATH = "/api/v1/services/aigc/multimodal-generation/generation"

CODES = {
    400: "InvalidParameter",
    401: "InvalidApiKey",
    403: "AccessDenied",
    404: "ModelNotFound",
    429: "Throttling.RateQuota",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class DashScopeServer(HttpServer):
    """Further faults: ``url_only`` (events without audio, and then the URL), ``expired_url``,
    ``foreign_url`` (it lies elsewhere), ``redirected_url`` (it leads elsewhere), ``short_url``
    (half of the file comes)."""

    faults = (HTTP_FAULTS - {"wrong_rate"}) | {
        "url_only",
        "expired_url",
        "foreign_url",
        "redirected_url",
        "short_url",
    }

    def count(self, text: str) -> int:
        return han_twice(text)

    @property
    def base_url(self) -> str:
        return f"{self.url}/api/v1"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {"DASHSCOPE_HTTP_BASE_URL": self.base_url, "DASHSCOPE_API_KEY": "fake"}

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        # A code in snake case is the suite's word for what DashScope writes in its own way.
        known = fault.code if fault.code and not fault.code.islower() else ""
        code = known or CODES.get(fault.status, "InternalError")
        return {"code": code, "message": fault.message, "request_id": self._request_id()}

    async def respond(self, request: Request, reply: Reply) -> None:
        if request.method == "POST" and request.path == PATH:
            body = request.json()
            text = str(body.get("input", {}).get("text", ""))
            with self.begin(body, text, request.bearer) as call:
                if not await self.refused(call, reply):
                    streamed = request.headers.get("x-dashscope-sse") == "enable"
                    await (self._events if streamed else self._url)(call, reply)
        elif request.method == "GET" and request.path.startswith("/results/"):
            await self._result(self.calls[int(request.path[9:-4])], reply)
        else:
            await reply.whole(self.error_body(Fault("status", 404, message="no such path")), 404)

    async def _events(self, call: Call, reply: Reply) -> None:
        reply.start("text/event-stream;charset=UTF-8", {"x-request-id": self._request_id()})
        number = 1
        if call.hit_by("url_only", "expired_url", "foreign_url", "redirected_url", "short_url"):
            call.billed = True
        else:
            async for piece in self.pieces(call):
                body = self._answer(call, audio=b64encode(piece).decode())
                await self._event(reply, number, body)
                number += 1
        if call.hit_by("malformed_frame"):
            await reply.write(f"id:{number}\nevent:result\ndata:{{'output':\n\n".encode())
        elif call.fault and call.hit_by("error_frame"):
            await self._event(reply, number, self.error_body(call.fault), "error", 400)
        elif not call.hit_by("early_end"):
            await self._event(reply, number, self._answer(call, url=self._address(call)))
        await reply.finish()

    async def _event(
        self,
        reply: Reply,
        number: int,
        body: Mapping[str, Any],
        event: str = "result",
        status: int = 200,
    ) -> None:
        data = json.dumps(body, separators=(",", ":"))
        lines = f"id:{number}\nevent:{event}\n:HTTP_STATUS/{status}\ndata:{data}\n\n"
        await reply.write(lines.encode())

    async def _url(self, call: Call, reply: Reply) -> None:
        async for _ in self.pieces(call):
            pass  # it takes its time, and only then is there an answer
        if call.hit_by("malformed_frame"):
            await reply.whole(b'{"output":{"audio"')
        elif call.fault and call.hit_by("error_frame"):
            await reply.whole(self.error_body(call.fault), 500)
        elif call.hit_by("early_end"):
            await reply.whole(self._answer(call))
        else:
            await reply.whole(self._answer(call, url=self._address(call)))

    def _answer(self, call: Call, *, audio: str = "", url: str = "") -> dict[str, Any]:
        output = {
            "text": None,
            "finish_reason": "stop" if url else "null",
            "choices": None,
            "audio": {"data": audio, "url": url, "id": "audio_1", "expires_at": 4102444800},
        }
        usage = {"input_tokens": 1, "output_tokens": 0, "characters": call.characters}
        return {"output": output, "usage": usage, "request_id": self._request_id(call)}

    def _address(self, call: Call) -> str:
        path = f"/results/{self.calls.index(call)}.wav"
        if call.hit_by("foreign_url"):
            return f"http://169.254.169.254{path}"
        return self.url + path

    async def _result(self, call: Call, reply: Reply) -> None:
        if call.hit_by("expired_url"):
            await reply.whole(b"<Error><Code>AccessDenied</Code></Error>", 403, "application/xml")
        elif call.hit_by("redirected_url"):
            elsewhere = "http://169.254.169.254/latest"
            await reply.whole(b"", 302, headers={"location": elsewhere})
        else:
            audio = speech(call.text, self.sample_rate, self.milliseconds)
            file = wav_header(self.sample_rate, len(audio)) + audio
            if call.hit_by("odd_bytes", "short_url"):
                file = file[: len(file) // 2 + 1]
            await reply.whole(file, content_type="audio/wav")

    def _request_id(self, call: Call | None = None) -> str:
        """``req-1`` for the first call, and so on."""
        number = self.calls.index(call) + 1 if call else len(self.calls)
        return f"req-{number}"
